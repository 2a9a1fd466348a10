package bench_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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
	doors      = flag.Bool("door", false, "measure the ways into a node from another process")
	doorRounds = flag.Int("door.rounds", 7, "rounds of -door")
	doorLength = flag.Duration("door.length", 300*time.Millisecond, "length of each measurement of -door")
	doorOnly   = flag.String("door.only", "", "of -door, only the ways whose name contains this")
	doorServe  = flag.String("door.serve", "", "be the serving process of -door: a directory")
	doorBound  = flag.Duration("door.bound", poll.Bound, "how long the serving process polls")
	doorStock  = flag.Bool("door.stock", false, "the serving process listens with the stock listener")
)

const doorSubject = "wb.local.rpc.order.echo"

// way is one of the ways into another process.
type way struct {
	name  string
	bound time.Duration // of both ends
	stock bool
	dial  func(s *serving) (net.Conn, error)
}

// serving is the other process.
type serving struct {
	cmd                            *exec.Cmd
	dir, tcp, echo, unixEcho, grpc string
}

func (s *serving) cpu(t *testing.T) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	u, _ := strconv.Atoi(f[11])
	k, _ := strconv.Atoi(f[12])
	return time.Duration(u+k) * 10 * time.Millisecond
}

func startServing(t *testing.T, bound time.Duration, stock bool) *serving {
	dir, err := os.MkdirTemp("", "door-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0], "-test.run=TestDoorServe", "-door.serve="+dir, "-door.bound="+bound.String(), "-door.stock="+strconv.FormatBool(stock))
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 5 {
		t.Fatalf("the serving process says %q, %v", line, err)
	}
	return &serving{cmd: cmd, dir: dir, tcp: f[1], echo: f[2], unixEcho: f[3], grpc: f[4]}
}

func TestDoorServe(t *testing.T) {
	if *doorServe == "" {
		t.Skip()
	}
	secrets, err := embedded.OpenSecrets(filepath.Join(*doorServe, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := embedded.StartNATS(t.Context(), embedded.NATSConfig{Site: "local", DataDir: filepath.Join(*doorServe, "nats"), Addr: "127.0.0.1:0", Secrets: secrets,
		Log: zerolog.Nop(), Socket: filepath.Join(*doorServe, "s"), Poll: *doorBound, StockTCP: *doorStock})
	if err != nil {
		t.Fatal(err)
	}
	link, err := n.Link(embedded.Front(subjects.Order), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 96)
	work := make(chan string, 1024)
	for range 16 {
		go func() {
			for to := range work {
				link.Publish(to, nil, reply)
			}
		}()
	}
	if _, err := link.Subscribe(doorSubject, "order", func(m lean.Msg) { work <- m.Reply }); err != nil {
		t.Fatal(err)
	}
	if _, err := link.Subscribe("wb.local.rpc.order.join", "order", func(m lean.Msg) {
		go func() {
			l, err := n.Link(embedded.Front(subjects.Order), true, nil)
			if err != nil {
				link.Publish(m.Reply, nil, []byte(err.Error()))
				return
			}
			l.Close()
			link.Publish(m.Reply, nil, nil)
		}()
	}); err != nil {
		t.Fatal(err)
	}
	link.Flush(t.Context())
	echo := func(l net.Listener, err error) net.Listener {
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					b := make([]byte, 183)
					for {
						if _, err := io.ReadFull(c, b); err != nil {
							return
						}
						c.Write(b[:96])
					}
				}()
			}
		}()
		return l
	}
	e := echo(net.Listen("tcp", "127.0.0.1:0"))
	u := echo(net.Listen("unix", filepath.Join(*doorServe, "e")))
	gl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gs := grpc.NewServer()
	h := health.NewServer()
	h.SetServingStatus(strings.Repeat("x", 170), grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(gs, h)
	go gs.Serve(gl)
	fmt.Println("serving", n.Addr(), e.Addr(), u.Addr(), gl.Addr())
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func TestDoor(t *testing.T) {
	if !*doors {
		t.Skip()
	}
	unixDial := func(s *serving) (net.Conn, error) { return net.Dial("unix", filepath.Join(s.dir, "s")) }
	tcpDial := func(s *serving) (net.Conn, error) { return net.Dial("tcp", s.tcp) }
	ways := []way{
		{"raw tcp", 0, false, nil}, {"raw unix", 0, false, nil}, {"grpc", 0, false, nil},
		{"stock tcp", 0, true, tcpDial},
		{"stock tcp, client polls", 0, true, tcpDial},
		{"door tcp", 0, false, tcpDial},
		{"door unix", 0, false, unixDial},
		{"door tcp polls", *doorBound, false, tcpDial},
		{"door unix polls", *doorBound, false, unixDial},
	}
	servers := map[string]*serving{}
	server := func(w way) *serving {
		k := fmt.Sprint(w.bound, w.stock)
		if servers[k] == nil {
			servers[k] = startServing(t, w.bound, w.stock)
		}
		return servers[k]
	}
	for _, callers := range []int{1, 2, 16, 256} {
		type sum struct{ p50, p99, rate, here, there []float64 }
		sums := map[string]*sum{}
		for range *doorRounds {
			for _, w := range ways {
				if !strings.Contains(w.name, *doorOnly) {
					continue
				}
				s := server(w)
				call, stop := s.caller(t, w, callers)
				time.Sleep(5 * time.Millisecond)
				bench.LoopFor(t.Context(), callers, 50*time.Millisecond, call)
				there, here := s.cpu(t), ownCPU()
				r := bench.LoopFor(t.Context(), callers, *doorLength, call)
				there, here = s.cpu(t)-there, ownCPU()-here
				stop()
				if r.Errors > 0 {
					t.Fatal(w.name, r.FirstError)
				}
				x := sums[w.name]
				if x == nil {
					x = &sum{}
					sums[w.name] = x
				}
				x.p50 = append(x.p50, float64(r.Percentile(.5).Nanoseconds())/1e3)
				x.p99 = append(x.p99, float64(r.Percentile(.99).Nanoseconds())/1e3)
				x.rate = append(x.rate, r.Rate())
				x.here = append(x.here, here.Seconds()*1e6/float64(r.Count))
				x.there = append(x.there, there.Seconds()*1e6/float64(r.Count))
			}
		}
		for _, w := range ways {
			if x := sums[w.name]; x != nil {
				fmt.Printf("| %d | %s | %.0f (%.0f–%.0f) | %.0f | %.0f | %.1f | %.1f |\n", callers, w.name, bench.SpreadOf(x.p50).Median, bench.SpreadOf(x.p50).Low, bench.SpreadOf(x.p50).High, bench.SpreadOf(x.p99).Median,
					bench.SpreadOf(x.rate).Median, bench.SpreadOf(x.here).Median, bench.SpreadOf(x.there).Median)
			}
		}
	}
}

func (s *serving) caller(t *testing.T, w way, callers int) (func(context.Context, int) error, func()) {
	switch w.name {
	case "raw tcp", "raw unix":
		var pool sync.Pool
		network, addr := "tcp", s.echo
		if w.name == "raw unix" {
			network, addr = "unix", s.unixEcho
		}
		free := make(chan net.Conn, callers)
		for range callers {
			c, err := net.Dial(network, addr)
			if err != nil {
				t.Fatal(err)
			}
			free <- c
		}
		_ = &pool
		return func(context.Context, int) error {
				c := <-free
				defer func() { free <- c }()
				var b [183]byte
				if _, err := c.Write(b[:]); err != nil {
					return err
				}
				_, err := io.ReadFull(c, b[:96])
				return err
			}, func() {
				for range callers {
					(<-free).Close()
				}
			}
	case "grpc":
		c, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		h := grpc_health_v1.NewHealthClient(c)
		name := strings.Repeat("x", 170)
		return func(ctx context.Context, _ int) error {
			_, err := h.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
			return err
		}, func() { c.Close() }
	}
	bound := w.bound
	if strings.Contains(w.name, "client polls") {
		bound = *doorBound
	}
	c, err := lean.Dial(t.Context(), lean.Options{Inbox: "_INBOX", Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) {
		conn, err := w.dial(s)
		if err != nil {
			return nil, err
		}
		return poll.Wrap(conn, bound), nil
	}})
	if err != nil {
		t.Fatal(w.name, err)
	}
	payload := make([]byte, 183)
	return func(ctx context.Context, _ int) error {
		_, err := c.Request(ctx, doorSubject, nil, payload)
		return err
	}, c.Close
}

func TestDoorFlood(t *testing.T) {
	if !*doors {
		t.Skip()
	}
	for _, count := range []int{1000, 3000, 5000} {
		for _, stock := range []bool{true, false} {
			flood(t, stock, count)
		}
	}
}

func flood(t *testing.T, stock bool, count int) {
	s := startServing(t, 0, stock)
	tcp := way{name: "tcp", dial: func(s *serving) (net.Conn, error) { return net.Dial("tcp", s.tcp) }}
	call, stop := s.caller(t, tcp, 4)
	defer stop()
	jc, stopJ := s.callerTo(t, tcp, 1, "wb.local.rpc.order.join")
	defer stopJ()
	measure := func(d time.Duration) bench.Result {
		return bench.LoopFor(t.Context(), 4, d, func(ctx context.Context, n int) error {
			time.Sleep(time.Millisecond)
			return nil
		})
	}
	_ = measure
	paced := func(d time.Duration) []time.Duration {
		var mu sync.Mutex
		var all []time.Duration
		var wg sync.WaitGroup
		end := time.Now().Add(d)
		for range 4 {
			wg.Go(func() {
				var mine []time.Duration
				for time.Now().Before(end) {
					b := time.Now()
					if err := call(t.Context(), 0); err != nil {
						t.Error("existing client:", err)
						return
					}
					mine = append(mine, time.Since(b))
					time.Sleep(time.Millisecond)
				}
				mu.Lock()
				all = append(all, mine...)
				mu.Unlock()
			})
		}
		wg.Wait()
		slices.Sort(all)
		return all
	}
	before := paced(4 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var dials, refused atomic.Int64
	began := time.Now()
	gate := make(chan struct{}, 16)
	for range count {
		wg.Go(func() {
			for ctx.Err() == nil {
				gate <- struct{}{}
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.tcp)
				<-gate
				dials.Add(1)
				if err == nil {
					stop := context.AfterFunc(ctx, func() { c.Close() })
					b := make([]byte, 4096)
					for {
						if _, err := c.Read(b); err != nil {
							break
						}
					}
					c.Close()
					stop()
				} else {
					refused.Add(1)
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	var slowest, slowestJoin time.Duration
	var failed, failedJoin, tries int
	wg.Go(func() {
		for ctx.Err() == nil {
			b := time.Now()
			c, err := nats.Connect("nats://"+s.tcp, nats.Timeout(5*time.Second), nats.NoReconnect())
			if err == nil {
				_, err = c.Request(doorSubject, make([]byte, 183), 5*time.Second)
				c.Close()
			}
			if ctx.Err() != nil {
				return
			}
			tries++
			if err != nil {
				failed++
			} else {
				slowest = max(slowest, time.Since(b))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			b := time.Now()
			m, err := jc(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil || len(m.Data) > 0 {
				failedJoin++
			} else {
				slowestJoin = max(slowestJoin, time.Since(b))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	first := paced(2 * time.Second)
	after := paced(8 * time.Second)
	took := time.Since(began)
	cancel()
	wg.Wait()
	p99 := func(d []time.Duration) time.Duration { return d[len(d)*99/100] }
	fmt.Printf("| %d | stock %v | before p50 %v p99 %v | first 2s p99 %v | then p50 %v p99 %v | %d dials in %v, %d refused | new: %d of %d failed, slowest %v | services: %d failed, slowest %v\n", count, stock,
		before[len(before)/2], p99(before), p99(first), after[len(after)/2], p99(after), dials.Load(), took.Round(time.Second), refused.Load(), failed, tries, slowest, failedJoin, slowestJoin)
}

func (s *serving) callerTo(t *testing.T, w way, callers int, subject string) (func(context.Context) (lean.Msg, error), func()) {
	c, err := lean.Dial(t.Context(), lean.Options{Inbox: "_INBOX", Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) { return w.dial(s) }})
	if err != nil {
		t.Fatal(w.name, err)
	}
	return func(ctx context.Context) (lean.Msg, error) { return c.Request(ctx, subject, nil, nil) }, c.Close
}
