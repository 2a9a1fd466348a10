package embedded

import (
	"os"

	"golang.org/x/sys/unix"
)

// openSync opens dir and returns what makes its whole file system durable. One syncfs covers the tails of closed blocks, the
// directory entries and the consumers' files; fdatasync of the open block would not.
func openSync(dir string) (sync, release func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	fd := int(d.Fd())
	return func() error {
		for {
			if err := unix.Syncfs(fd); err != unix.EINTR {
				return err
			}
		}
	}, d.Close, nil
}
