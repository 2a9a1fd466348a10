package embedded

import (
	"os"

	"golang.org/x/sys/unix"

	"waybill/internal/fault"
)

// FreeSpace is how many bytes this user can still write to dir's file system. Error: unavailable.
func FreeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fault.Wrap(err, fault.Unavailable, "the free space of %s can't be read", dir)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// forgetCached drops the pages of a file from memory. Pages that are not yet written are kept: sync before.
func forgetCached(f *os.File) error {
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
