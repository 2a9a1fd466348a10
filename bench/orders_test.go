package bench_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"waybill/bench"
	"waybill/client"
	"waybill/configs"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// BenchmarkOrderPlace places orders in a closed loop, over TCP, with the clients in the same process as the node.
func BenchmarkOrderPlace(b *testing.B) {
	for _, durability := range []string{configs.Fast, configs.Strict} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/%d", durability, callers), func(b *testing.B) {
				n := nodetest.Start(b, nodetest.WithConfig(func(c *configs.Config) { c.Durability = durability }))
				c := n.Client(b)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := bench.Prepare(ctx, c); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu(b)
				r := bench.Loop(ctx, callers, b.N, func(ctx context.Context, i int) error {
					o, err := client.Call(ctx, c, subjects.OrderPlace, bench.Order(i))
					if err == nil && o.Status != "confirmed" {
						err = fmt.Errorf("the order is %s: %+v", o.Status, o.Reason)
					}
					return err
				})
				b.StopTimer()
				used := cpu(b) - before
				if r.Errors > 0 {
					b.Fatalf("%d of %d failed, the first with: %v", r.Errors, b.N, r.FirstError)
				}
				b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/order")
				b.ReportMetric(r.Rate(), "orders/s")
				b.ReportMetric(float64(r.Percentile(0.5).Microseconds()), "p50-us")
				b.ReportMetric(float64(r.Percentile(0.99).Microseconds()), "p99-us")
			})
		}
	}
}

// cpu is the time that the whole process has spent on a CPU: the steady figure on a machine that others use too.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
