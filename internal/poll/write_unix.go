//go:build unix

package poll

import (
	"net"
	"os"
	"syscall"
)

// TryWrite is a write to c that takes what the system takes at once and waits for nothing, for one goroutine at a time: it returns how
// much that was. It is nil where c has none.
func TryWrite(c net.Conn) func(b []byte) (int, error) {
	raw := rawOf(c)
	if raw == nil {
		return nil
	}
	var buf []byte
	var put int
	var failed error
	write := func(fd uintptr) bool { // made once: it would be allocated for each write
		put, failed = syscall.Write(int(fd), buf)
		return true
	}
	return func(b []byte) (int, error) {
		buf = b
		err := raw.Write(write)
		buf = nil
		switch {
		case err != nil:
			return 0, err
		case failed == syscall.EAGAIN || failed == syscall.EINTR:
			return 0, nil
		case failed != nil:
			return 0, &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
				Err: os.NewSyscallError("write", failed)}
		}
		return put, nil
	}
}
