package bench_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/lean"
)

// TestDoorFlood shows what connections that say nothing do to those who work: with the server's own listener, and with the door.
// Each of them is dialled again a second after it was ended.
func TestDoorFlood(t *testing.T) {
	if !*doors {
		t.Skip("skipped: it takes minutes; run it with -door, as make bench-door does")
	}
	t.Log("| silent connections, arrivals/s | | p99 before | while they come | then | new clients: refused, slowest | services: refused, slowest |")
	for _, count := range []int{1000, 3000, 5000, 9000} {
		for _, secure := range []bool{false, true} {
			for _, stock := range []bool{true, false} {
				floodDoor(t, served{stock: stock, secure: secure}, count)
			}
		}
	}
}

func floodDoor(t *testing.T, how served, count int) {
	s := startServing(t, how)
	o, what := lean.Options{Servers: "nats://" + s.nats}, ""
	if how.secure {
		o.TLS, what = s.trust(t), ", TLS"
	}
	c, service := leanConn(t, o), leanConn(t, o)
	defer c.Close()
	defer service.Close()
	payload := make([]byte, requestSize)
	p99 := func(d time.Duration) time.Duration {
		var mu sync.Mutex
		var all []time.Duration
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
					began := time.Now()
					if _, err := c.Request(t.Context(), echoSubject, nil, payload); err != nil {
						t.Errorf("a client that was in before: %v", err)
						return
					}
					mu.Lock()
					all = append(all, time.Since(began))
					mu.Unlock()
				}
			})
		}
		callers.Wait()
		slices.Sort(all)
		return all[len(all)*99/100]
	}
	before := p99(4 * time.Second)

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var arrivals atomic.Int64
	dialling := make(chan struct{}, 16)
	began := time.Now()
	for range count {
		running.Go(func() {
			for ctx.Err() == nil {
				dialling <- struct{}{}
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.nats)
				<-dialling
				if err == nil {
					arrivals.Add(1)
					end := context.AfterFunc(ctx, func() { conn.Close() })
					_, _ = io.Copy(io.Discard, conn)
					end()
					conn.Close()
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	client := try(ctx, &running, func() error {
		nc, err := nats.Connect(o.Servers, nats.Timeout(5*time.Second), nats.NoReconnect(), func(n *nats.Options) error { n.TLSConfig = o.TLS; return nil })
		if err == nil {
			_, err = nc.Request(echoSubject, payload, 5*time.Second)
			nc.Close()
		}
		return err
	})
	joined := try(ctx, &running, func() error {
		m, err := service.Request(ctx, joinSubject, nil, nil)
		if err == nil && len(m.Data) > 0 {
			err = fmt.Errorf("%s", m.Data)
		}
		return err
	})
	first := p99(2 * time.Second)
	then := p99(8 * time.Second)
	rate := float64(arrivals.Load()) / time.Since(began).Seconds()
	cancel()
	running.Wait()
	if how.stock {
		what = "server's listener" + what
	} else {
		what = "door" + what
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	t.Logf("| %d, %.0f | %s | %.1f ms | %.1f ms | %.1f ms (× %.1f) | %d of %d, %.0f ms | %d of %d, %.0f ms |", count, rate, what, ms(before), ms(first), ms(then),
		ms(then)/ms(before), client.failed, client.tries, ms(client.slowest), joined.failed, joined.tries, ms(joined.slowest))
}

// tries are how often something was tried, how often it failed, and how long it took at most.
type tries struct {
	tries, failed int
	slowest       time.Duration
}

// try does something ten times a second until ctx ends; the result is whole when running is over.
func try(ctx context.Context, running *sync.WaitGroup, do func() error) *tries {
	var out tries
	running.Go(func() {
		for {
			began := time.Now()
			err := do()
			if ctx.Err() != nil {
				return
			}
			out.tries++
			if err != nil {
				out.failed++
			} else {
				out.slowest = max(out.slowest, time.Since(began))
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return &out
}
