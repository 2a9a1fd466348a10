//go:build unix

package poll

import (
	"io"
	"net"
	"os"
	"syscall"
)

// tryRead is a read of c that does not wait, for one goroutine at a time; nil where c has none.
func tryRead(c net.Conn) func(b []byte) (n int, err error, done bool) {
	raw := rawOf(c)
	if raw == nil {
		return nil
	}
	var buf []byte
	var got int
	var failed error
	look := func(fd uintptr) bool { // made once: it would be allocated for each read
		got, failed = syscall.Read(int(fd), buf)
		return true
	}
	return func(b []byte) (int, error, bool) {
		buf = b
		err := raw.Read(look)
		buf = nil
		switch {
		case err != nil: // closed, or past its deadline: the read that waits says so
			return 0, nil, false
		case failed == syscall.EAGAIN || failed == syscall.EINTR:
			return 0, nil, false
		case failed != nil:
			return 0, &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
				Err: os.NewSyscallError("read", failed)}, true
		case got == 0:
			return 0, io.EOF, true
		}
		return got, nil, true
	}
}

// rawOf is the socket of c; nil where c is something else.
func rawOf(c net.Conn) syscall.RawConn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := c.(syscall.Conn).SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}
