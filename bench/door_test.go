package bench_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"waybill/bench"
	"waybill/embedded"
	"waybill/internal/lean"
	"waybill/internal/poll"
	"waybill/subjects"
)

var (
	doors      = flag.Bool("door", false, "measure the ways from one process into another, and a flood of silent connections")
	doorRounds = flag.Int("door.rounds", 7, "rounds of -door")
	doorLength = flag.Duration("door.length", 300*time.Millisecond, "length of each measurement of -door")
	doorOnly   = flag.String("door.only", "", "of -door, only the ways whose names have this in them")
	doorQuiet  = flag.Duration("door.quiet", 0, "how long -door waits before each measurement for the other programs of the machine to be at rest")
	doorHogs   = flag.Int("door.hogs", 0, "processes that keep a core each busy during -door")
	doorServe  = flag.String("door.serve", "", "for a process that -door starts: the directory to serve from, or hog")
	doorPoll   = flag.Duration("door.poll", 0, "for a process that -door starts: how long it polls")
	doorStock  = flag.Bool("door.stock", false, "for a process that -door starts: TCP clients come to the server's own listener")
	doorTLS    = flag.Bool("door.tls", false, "for a process that -door starts: its clients come over TLS")
)

const (
	echoSubject = "wb.local.rpc.order.echo"
	joinSubject = "wb.local.rpc.order.join" // answered once a service has connected and gone again
	requestSize = 183
	replySize   = 96
)

// way is one of the ways from a process into another.
type way struct {
	name    string
	served  served
	bound   time.Duration // for which the caller polls
	connect func(t *testing.T, w way, s *serving, callers int) (call func(context.Context, int) error, stop func())
}

// served is how the other process serves.
type served struct {
	poll   time.Duration
	stock  bool
	secure bool
}

var ways = []way{
	{name: "raw echo, TCP", connect: rawTo(func(s *serving) (net.Conn, error) { return net.Dial("tcp", s.rawTCP) })},
	{name: "raw echo, Unix", connect: rawTo(func(s *serving) (net.Conn, error) { return net.Dial("unix", s.rawUnix) })},
	{name: "gRPC-go, TCP", connect: overGRPC},
	{name: "NATS server's listener, TCP", served: served{stock: true}, connect: natsTo(dialTCP)},
	{name: "door, TCP", connect: natsTo(dialTCP)},
	{name: "door, Unix", connect: natsTo(dialUnix)},
	{name: "door, TCP, the door polls", served: served{poll: poll.Bound}, connect: natsTo(dialTCP)},
	{name: "door, TCP, both poll", served: served{poll: poll.Bound}, bound: poll.Bound, connect: natsTo(dialTCP)},
	{name: "door, Unix, both poll", served: served{poll: poll.Bound}, bound: poll.Bound, connect: natsTo(dialUnix)},
	{name: "NATS server's listener, TLS", served: served{stock: true, secure: true}, connect: natsAt("tls")},
	{name: "door, TLS", served: served{secure: true}, connect: natsAt("tls")},
	{name: "door, TLS, both poll", served: served{secure: true, poll: poll.Bound}, bound: poll.Bound, connect: natsAt("tls")},
	{name: "door, WebSocket", connect: natsAt("ws")},
	{name: "door, WebSocket, both poll", served: served{poll: poll.Bound}, bound: poll.Bound, connect: natsAt("ws")},
}

// TestDoor shows what a request from another process costs, by each way.
func TestDoor(t *testing.T) {
	if !*doors {
		t.Skip("skipped: it takes minutes; run it with -door, as make bench-door does")
	}
	for range *doorHogs {
		startDoor(t, "-door.serve=hog")
	}
	servers := map[served]*serving{}
	for _, callers := range []int{1, 2, 16, 256} {
		type figures struct{ p50, p99, rate, here, there []float64 }
		sums := make([]figures, len(ways))
		for range *doorRounds {
			for i, w := range ways {
				if !strings.Contains(w.name, *doorOnly) {
					continue
				}
				if servers[w.served] == nil {
					servers[w.served] = startServing(t, w.served)
				}
				s := servers[w.served]
				awaitQuiet(t)
				call, stop := w.connect(t, w, s, callers)
				bench.LoopFor(t.Context(), callers, *doorLength/4, call)
				there, here := s.cpu(t), ownCPU(t)
				r := bench.LoopFor(t.Context(), callers, *doorLength, call)
				there, here = s.cpu(t)-there, ownCPU(t)-here
				stop()
				if r.Errors > 0 || r.Count == 0 {
					t.Fatalf("%s: %d errors, %v", w.name, r.Errors, r.FirstError)
				}
				f := &sums[i]
				f.p50, f.p99 = append(f.p50, micro(r.Percentile(0.5))), append(f.p99, micro(r.Percentile(0.99)))
				f.rate = append(f.rate, r.Rate()/1000)
				f.here, f.there = append(f.here, micro(here)/float64(r.Count)), append(f.there, micro(there)/float64(r.Count))
			}
		}
		t.Logf("| %d callers | p50 µs | p99 µs | thousand/s | CPU of a call here, µs | there |", callers)
		for i, f := range sums {
			if len(f.p50) > 0 {
				p50 := bench.SpreadOf(f.p50)
				t.Logf("| %s | %.0f (%.0f–%.0f) | %.0f | %.1f | %.1f | %.1f |", ways[i].name, p50.Median, p50.Low, p50.High, bench.SpreadOf(f.p99).Median,
					bench.SpreadOf(f.rate).Median, bench.SpreadOf(f.here).Median, bench.SpreadOf(f.there).Median)
			}
		}
	}
}

// awaitQuiet returns when the machine was mostly idle for a tenth of a second, or when it has waited for long enough.
func awaitQuiet(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(*doorQuiet); time.Now().Before(end); {
		idle, total := machineTicks(t)
		time.Sleep(100 * time.Millisecond)
		idleNow, totalNow := machineTicks(t)
		if 10*(idleNow-idle) >= 9*(totalNow-total) {
			return
		}
	}
}

// machineTicks are the ticks that the cores have idled, and all.
func machineTicks(t *testing.T) (idle, total int) {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if total += n; i == 3 || i == 4 { // idle, and waiting for a disk
			idle += n
		}
	}
	return idle, total
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func dialTCP(s *serving) (net.Conn, error) { return net.Dial("tcp", s.nats) }
func dialUnix(s *serving) (net.Conn, error) {
	return net.Dial("unix", filepath.Join(s.dir, "nats.sock"))
}

// natsTo has all callers share one connection.
func natsTo(dial func(*serving) (net.Conn, error)) func(*testing.T, way, *serving, int) (func(context.Context, int) error, func()) {
	return func(t *testing.T, w way, s *serving, _ int) (func(context.Context, int) error, func()) {
		return shared(leanConn(t, lean.Options{Dial: func(context.Context) (net.Conn, error) {
			conn, err := dial(s)
			if err != nil {
				return nil, err
			}
			return poll.Wrap(conn, w.bound), nil
		}}))
	}
}

// natsAt has all callers share one connection to a URL of the scheme.
func natsAt(scheme string) func(*testing.T, way, *serving, int) (func(context.Context, int) error, func()) {
	return func(t *testing.T, w way, s *serving, _ int) (func(context.Context, int) error, func()) {
		o := lean.Options{Servers: scheme + "://" + s.nats, Wrap: func(c net.Conn) net.Conn { return poll.Wrap(c, w.bound) }}
		if scheme == "ws" {
			o.Servers = scheme + "://" + s.ws
		}
		if w.served.secure {
			o.TLS = s.trust(t)
		}
		return shared(leanConn(t, o))
	}
}

func shared(c *lean.Conn) (call func(context.Context, int) error, stop func()) {
	payload := make([]byte, requestSize)
	return func(ctx context.Context, _ int) error {
		m, err := c.Request(ctx, echoSubject, nil, payload)
		if err == nil && len(m.Data) != replySize {
			err = fmt.Errorf("a reply of %d bytes", len(m.Data))
		}
		return err
	}, c.Close
}

func leanConn(t *testing.T, o lean.Options) *lean.Conn {
	t.Helper()
	o.Inbox, o.Log = "_INBOX", zerolog.Nop()
	c, err := lean.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rawTo gives each caller a connection.
func rawTo(dial func(*serving) (net.Conn, error)) func(*testing.T, way, *serving, int) (func(context.Context, int) error, func()) {
	return func(t *testing.T, _ way, s *serving, callers int) (func(context.Context, int) error, func()) {
		free := make(chan net.Conn, callers)
		for range callers {
			conn, err := dial(s)
			if err != nil {
				t.Fatal(err)
			}
			free <- conn
		}
		call := func(context.Context, int) error {
			conn := <-free
			defer func() { free <- conn }()
			var b [requestSize]byte
			if _, err := conn.Write(b[:]); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, b[:replySize])
			return err
		}
		return call, func() {
			for range callers {
				(<-free).Close()
			}
		}
	}
}

// healthName is a request of the same size.
var healthName = strings.Repeat("x", requestSize-3)

func overGRPC(t *testing.T, _ way, s *serving, _ int) (func(context.Context, int) error, func()) {
	c, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	h := grpc_health_v1.NewHealthClient(c)
	return func(ctx context.Context, _ int) error {
		_, err := h.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: healthName})
		return err
	}, func() { c.Close() }
}

// serving is the other process, as its caller sees it.
type serving struct {
	cmd                             *exec.Cmd
	dir                             string
	nats, rawTCP, rawUnix, grpc, ws string
}

func startServing(t *testing.T, how served) *serving {
	t.Helper()
	dir := t.TempDir()
	cmd, out := startDoor(t, "-door.serve="+dir, "-door.poll="+how.poll.String(), "-door.stock="+strconv.FormatBool(how.stock), "-door.tls="+strconv.FormatBool(how.secure))
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 6 {
		t.Fatalf("the serving process says %q, %v", line, err)
	}
	return &serving{cmd: cmd, dir: dir, nats: f[1], rawTCP: f[2], rawUnix: f[3], grpc: f[4], ws: f[5]}
}

// startDoor starts this program again, until the test ends.
func startDoor(t *testing.T, args ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "-test.run=^TestDoorServe$")...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return cmd, out
}

// cpu is what the process has taken, in steps of 10 ms.
func (s *serving) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, err := strconv.Atoi(f[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(f[12])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDoorServe is the other process: a NATS server with its doors and a service behind it, and what it is compared with. It
// serves until its standard input ends.
func TestDoorServe(t *testing.T) {
	switch *doorServe {
	case "":
		t.Skip("skipped: a process that TestDoor starts runs it")
	case "hog":
		go func() {
			for n := new(atomic.Int64); ; n.Add(1) {
			}
		}()
	default:
		n := serveNATS(t)
		tcp, unix, rpc := listenOn(t, "tcp", "127.0.0.1:0"), listenOn(t, "unix", filepath.Join(*doorServe, "raw.sock")), listenOn(t, "tcp", "127.0.0.1:0")
		go serveRaw(tcp)
		go serveRaw(unix)
		server, status := grpc.NewServer(), health.NewServer()
		status.SetServingStatus(healthName, grpc_health_v1.HealthCheckResponse_SERVING)
		grpc_health_v1.RegisterHealthServer(server, status)
		go func() { _ = server.Serve(rpc) }()
		fmt.Println("serving", n.Addr(), tcp.Addr(), unix.Addr(), rpc.Addr(), n.WSAddr())
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0) // no report of a test
}

// serveNATS answers requests in workers, as services do.
func serveNATS(t *testing.T) *embedded.NATS {
	t.Helper()
	secrets, err := embedded.OpenSecrets(filepath.Join(*doorServe, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	var certificate *tls.Config
	if *doorTLS {
		certificate = newCertificate(t, filepath.Join(*doorServe, certificateFile))
	}
	n, err := embedded.StartNATS(t.Context(), embedded.NATSConfig{
		Site: subjects.DefaultSite, DataDir: filepath.Join(*doorServe, "nats"), Addr: "127.0.0.1:0", Secrets: secrets, Log: zerolog.Nop(),
		Socket: filepath.Join(*doorServe, "nats.sock"), Poll: *doorPoll, StockTCP: *doorStock, WSAddr: "127.0.0.1:0", TLS: certificate,
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := n.Link(embedded.Front(subjects.Order), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	work := make(chan lean.Msg, 1024)
	reply := make([]byte, replySize)
	for range 16 {
		go func() {
			for m := range work {
				_ = link.Publish(m.Reply, nil, reply)
			}
		}()
	}
	join := func(m lean.Msg) {
		c, err := n.Link(embedded.Front(subjects.Payment), true, nil)
		if err != nil {
			_ = link.Publish(m.Reply, nil, []byte(err.Error()))
			return
		}
		c.Close()
		_ = link.Publish(m.Reply, nil, nil)
	}
	if _, err = link.Subscribe(echoSubject, "order", func(m lean.Msg) { work <- m }); err == nil {
		_, err = link.Subscribe(joinSubject, "order", func(m lean.Msg) { go join(m) })
	}
	if err == nil {
		err = link.Flush(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func listenOn(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func serveRaw(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var b [requestSize]byte
			for {
				if _, err := io.ReadFull(conn, b[:]); err != nil {
					return
				}
				if _, err := conn.Write(b[:replySize]); err != nil {
					return
				}
			}
		}()
	}
}
