package embedded

import (
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// peer names the user at the other end of a Unix socket.
func peer(c *net.UnixConn) string {
	name := "unknown user"
	raw, err := c.SyscallConn()
	if err != nil {
		return name
	}
	_ = raw.Control(func(fd uintptr) {
		if u, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = "user " + strconv.FormatUint(uint64(u.Uid), 10)
		}
	})
	return name
}

// privately makes the file of a socket that is about to be bound one that only its owner may use, from its first moment on.
func privately(fd uintptr) { _ = unix.Fchmod(int(fd), socketMode) }

// openFiles is how many files the process may have open.
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}
