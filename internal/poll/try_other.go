//go:build !unix

package poll

import "net"

func tryRead(net.Conn) func(b []byte) (n int, err error, done bool) { return nil }

// TryWrite is nil: there is no write that does not wait.
func TryWrite(net.Conn) func(b []byte) (int, error) { return nil }
