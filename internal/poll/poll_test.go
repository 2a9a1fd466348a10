//go:build unix

package poll

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// pair is a connection and its other end.
func pair(t testing.TB, network string) (a, b net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err == nil {
		b, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func wrap(t testing.TB, c net.Conn, bound time.Duration) *conn {
	t.Helper()
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	w, ok := Wrap(c, bound).(*conn)
	if !ok {
		t.Fatalf("%T does not poll", c)
	}
	return w
}

func TestReads(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			a, b := pair(t, network)
			w := wrap(t, b, Bound)
			buf := make([]byte, 4)
			for i := range 2000 {
				want := []byte{byte(i), byte(i >> 8), 'x'}
				sent := make(chan error, 1)
				go func() {
					if i%100 == 0 {
						time.Sleep(200 * time.Microsecond) // longer than it polls
					}
					_, err := a.Write(want)
					sent <- err
				}()
				if _, err := io.ReadFull(w, buf[:3]); err != nil || string(buf[:3]) != string(want) {
					t.Fatalf("read %d: %q, %v", i, buf[:3], err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			a.Close()
			if n, err := w.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d, %v", n, err)
			}
		})
	}
}

// A connection that is reset says so, also to a read that does not wait.
func TestReset(t *testing.T) {
	a, b := pair(t, "tcp")
	w := wrap(t, b, Bound)
	_ = a.(*net.TCPConn).SetLinger(0)
	a.Close()
	time.Sleep(10 * time.Millisecond)
	if _, err := w.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v", err)
	}
}

// A read that polls, for 200 ms here, ends with its deadline and with Close.
func TestDeadlineAndClose(t *testing.T) {
	for name, end := range map[string]func(c net.Conn) error{
		"deadline before": func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(-time.Second)) },
		"deadline":        func(c net.Conn) error { return c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) },
		"close":           func(c net.Conn) error { time.AfterFunc(20*time.Millisecond, func() { c.Close() }); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, b := pair(t, "unix")
			w := wrap(t, b, 200*time.Millisecond)
			if err := end(w); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err := w.Read(make([]byte, 1))
			want := os.ErrDeadlineExceeded
			if name == "close" {
				want = net.ErrClosed
			}
			if !errors.Is(err, want) || time.Since(began) > 700*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	}
}

// The score says whether a read polls: it falls with what does not come in time and rises with what does.
func TestScore(t *testing.T) {
	a, b := pair(t, "unix")
	w := wrap(t, b, 10*time.Microsecond)
	buf := make([]byte, 1)
	read := func(after time.Duration) {
		time.AfterFunc(after, func() { _, _ = a.Write([]byte{0}) })
		if _, err := w.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	for range full {
		w.waited = 0
		read(2 * time.Millisecond)
	}
	if w.score != 0 || w.waited < lively {
		t.Fatalf("after %d waits the score is %d, the last wait %v", full, w.score, w.waited)
	}
	w.score = full
	if read(2 * time.Millisecond); w.score != full {
		t.Errorf("after a long wait it polls: the score is %d", w.score)
	}
	w.score = 0
	w.waited, w.bound = 0, time.Second // as on a connection with traffic, and with time for slow machines
	for until := time.Now().Add(5 * time.Second); w.score < 4 && time.Now().Before(until); {
		w.waited = 0
		read(0) // polls when a window is open
		time.Sleep(time.Millisecond)
	}
	if w.score < 4 {
		t.Errorf("data that comes at once leaves the score at %d", w.score)
	}
}

// Reads at the same time poll on fewer cores than the process has.
func TestPollers(t *testing.T) {
	cores := max(runtime.GOMAXPROCS(0), 2)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	done := make(chan struct{})
	for range 3 * cores {
		_, b := pair(t, "unix")
		w := wrap(t, b, 200*time.Millisecond)
		go func() { _, _ = w.Read(make([]byte, 1)); done <- struct{}{} }()
		t.Cleanup(func() { w.Close(); <-done })
	}
	most := int32(0)
	for range 50 {
		time.Sleep(2 * time.Millisecond)
		most = max(most, polling.Load())
	}
	if most < 1 || int(most) >= cores+1 { // one that is about to find the places taken may be counted
		t.Errorf("%d poll at once on %d cores", most, cores)
	}
}

// What says nothing costs nothing.
func TestIdle(t *testing.T) {
	done := make(chan struct{})
	for range 100 {
		_, b := pair(t, "unix")
		w := wrap(t, b, Bound)
		go func() { _, _ = w.Read(make([]byte, 1)); done <- struct{}{} }()
		t.Cleanup(func() { w.Close(); <-done })
	}
	time.Sleep(50 * time.Millisecond)
	before := cpu(t)
	time.Sleep(2 * time.Second)
	if used := cpu(t) - before; used > 20*time.Millisecond {
		t.Errorf("100 idle connections took %v of CPU in 2s", used)
	}
}

func TestWrapNothing(t *testing.T) {
	a, _ := net.Pipe()
	defer a.Close()
	if Wrap(a, Bound) != a {
		t.Error("a pipe can't be polled")
	}
	_, b := pair(t, "unix")
	if Wrap(b, 0) != b {
		t.Error("without a bound nothing is polled")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if Wrap(b, Bound) != b {
		t.Error("on one core nothing is polled")
	}
}

// cpu is what the process has taken.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TryWrite takes what fits and does not wait.
func TestTryWrite(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	try := TryWrite(conn)
	if try == nil {
		t.Skip("there is no write that does not wait on this system")
	}
	block, sent := make([]byte, 1<<20), 0
	for n := 1; n > 0; sent += n { // until the socket is full
		if n, err = try(block); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, other, int64(sent)); err != nil {
		t.Fatal(err)
	}
	if n, err := try([]byte("more")); n != 4 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	conn.Close()
	if _, err := try([]byte("more")); err == nil {
		t.Error("a connection that is closed takes bytes")
	}
	if inner, _ := net.Pipe(); TryWrite(inner) != nil {
		t.Error("a pipe has a socket")
	}
}
