package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/node"
	"waybill/subjects"
)

// demoWithin bounds the whole demonstration.
const demoWithin = time.Minute

// demo is one demonstration: a node of its own and a client of it.
type demo struct {
	c       *client.Client
	report  demoReport
	samples []*subjects.OrderInfo // the orders that were placed to be measured
}

func (p *program) demo() *cobra.Command {
	var keep bool
	var output, durability string
	c := &cobra.Command{
		Use: "demo", Short: "See it all in a few seconds", Args: exactly(),
		Long: "Starts a site of its own in a temporary directory, fills a small coffee shop, and places orders of every outcome: shipped, picked up,\n" +
			"declined, out of stock, cancelled, and with a payment gateway that is slow, silent or away. Then it shows each order's timeline, where\n" +
			"the time went, and whether the books agree. It exits with 0 only if every outcome was as it should be.",
		Example: "  waybill demo\n  waybill demo --keep\n  waybill demo -o json",
	}
	f := c.Flags()
	f.BoolVar(&keep, "keep", false, "leave the site running until it is interrupted")
	f.StringVarP(&output, "output", "o", p.env["WAYBILL_OUTPUT"], "table or json (default table)")
	f.StringVar(&durability, "durability", configs.Strict, "strict or fast")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if output == "" {
			output = asTable // the demonstration is for people, wherever they have it written to
		}
		x := &connection{p: p, output: output}
		if err := x.settleOutput(); err != nil {
			return err
		}
		if durability != configs.Strict && durability != configs.Fast {
			return usage("the durability %q is neither strict nor fast", durability)
		}
		return p.runDemo(c.Context(), x, durability, keep)
	}
	return c
}

func (p *program) runDemo(ctx context.Context, x *connection, durability string, keep bool) (err error) {
	directory, err := os.MkdirTemp("", "waybill-demo-")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "no temporary directory can be made: %v", err)
	}
	defer os.RemoveAll(directory)

	begun := time.Now()
	config := configs.Default()
	config.Data, config.Durability = filepath.Join(directory, "data"), durability
	config.LogLevel = "error" // a gateway that is away is part of the show
	config.NATSAddr, config.HTTPAddr, config.EtcdAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := node.Start(ctx, node.Options{Config: config, Version: version, Log: zerolog.New(p.err)})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if stopped := n.Stop(end); err == nil {
			err = stopped
		}
	}()
	d := &demo{report: demoReport{Durability: durability, StartMS: milliseconds(time.Since(begun))}}
	if err := d.tell(ctx, p, n.Endpoints().NATS); err != nil {
		return err
	}
	d.report.TookMS = milliseconds(time.Since(begun))
	if err := x.print(&d.report, d.report.show); err != nil {
		return err
	}
	if keep {
		at := n.Endpoints()
		fmt.Fprintf(p.err, "\nThe site goes on until you interrupt it:\n  nats  %s\n  http  %s\n  etcd  %s\n  try   waybill order list --server %s\n",
			at.NATS, at.HTTP, at.Etcd, at.NATS)
		<-ctx.Done()
	}
	if !d.report.OK {
		return errSilent
	}
	return nil
}

// tell plays the scenes and gathers what came of them.
func (d *demo) tell(ctx context.Context, p *program, url string) error {
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	c, err := client.Connect(ctx, url, client.WithName("waybill demo"))
	if err != nil {
		return err
	}
	defer c.Close()
	d.c = c
	if err := d.stockShop(ctx); err != nil {
		return err
	}
	scenes := demoScenes()
	bar := p.progress(int64(len(scenes)), "orders")
	d.report.Orders = d.play(ctx, scenes, func() { bar.add(1) })
	bar.finish()
	if err := d.measure(ctx); err != nil {
		return err
	}
	if err := d.total(ctx); err != nil {
		return err
	}
	if err := d.verify(ctx); err != nil {
		return err
	}
	d.report.judge()
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
