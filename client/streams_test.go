package client

import (
	"context"
	"net"
	"testing"
	"time"

	"waybill/internal/fault"
)

// Who waits for a connection that does not come about waits as long as his own context, and keeps nobody from closing.
func TestStreamsOfASilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	const timeout = time.Second
	x := newStreams("nats://"+l.Addr().String(), &settings{timeout: timeout, inbox: "_INBOX", site: "local"})
	patient := make(chan error, 1)
	go func() {
		_, _, err := x.open(t.Context())
		patient <- err
	}()
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		x.mu.Lock()
		begun = x.opening != nil
		x.mu.Unlock()
	}
	began := time.Now()
	for range 2 {
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := x.open(short)
		cancel()
		if fault.CodeOf(err) != fault.DeadlineExceeded {
			t.Errorf("%v", err)
		}
	}
	x.close()
	if took := time.Since(began); took > timeout/2 {
		t.Errorf("it took %v", took)
	}
	if err := <-patient; err == nil {
		t.Error("a silent server was connected to")
	}
	if _, _, err := x.open(t.Context()); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("after close: %v", err)
	}
}
