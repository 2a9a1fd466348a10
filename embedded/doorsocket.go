package embedded

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"waybill/internal/fault"
)

const (
	socketMode    = 0o600
	maxSocketPath = 103 // bytes that a socket's path may have on every system, without the zero at its end
)

// listenSocket opens a Unix socket that only this user can connect to. What a process that was killed left there is removed:
// a socket on which nobody answers, and nothing else.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fault.New(fault.InvalidArgument, "the path %s is too long for a socket: choose one of at most %d bytes with --nats-socket", path, maxSocketPath)
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "%s can't be read", dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fault.New(fault.FailedPrecondition, "%s has mode %04o, so others could put a socket of their own in place of this one: "+
			"run chmod go-w %s, or choose another --nats-socket", dir, info.Mode().Perm(), dir)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(privately) }}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the socket %s can't be opened: choose another --nats-socket, or off", path)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		l.Close()
		return nil, fault.Wrap(err, fault.Unavailable, "the socket %s can't be made private", path)
	}
	return l, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be read", path)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fault.New(fault.FailedPrecondition, "%s is there and is no socket: move it away, or choose another --nats-socket", path)
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fault.New(fault.Unavailable, "another program listens on %s: stop it, or choose another --nats-socket", path)
	}
	if err := os.Remove(path); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the socket %s that a former process left can't be removed", path)
	}
	return nil
}
