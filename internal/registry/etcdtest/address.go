package etcdtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Address is a loopback address on which nobody listens now, for a server that will be started there more than once. Its port lies below
// those that the kernel hands out by itself (Linux: from 32,768), so that no connection takes it while the server is away.
func Address(t testing.TB) string {
	t.Helper()
	var err error
	for range 20 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))); err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}
