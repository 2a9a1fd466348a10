// Package nodetest is a whole real node for a test: embedded NATS and etcd on free ports, a real disk in a temporary
// directory, and nothing mocked.
package nodetest

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/client"
	"waybill/configs"
	"waybill/embedded"
	"waybill/internal/id"
	"waybill/internal/node"
	"waybill/internal/paygate"
	"waybill/subjects"
)

// A node's etcd is the test's program once more, which must then do nothing else.
func init() { embedded.RunAsEtcd() }

// Node is a running node that ends with its test.
type Node struct {
	*node.Node
	Config configs.Config

	t testing.TB
}

// Option changes how a node is started.
type Option func(*node.Options)

// InDir has the node use a directory, as one that starts again on its data does.
func InDir(dir string) Option { return func(o *node.Options) { o.Config.Data = dir } }

// WithHook has f called after each append, inner call, gateway call and reply.
func WithHook(f func(point string)) Option { return func(o *node.Options) { o.Hook = f } }

// WithClock has the domain tell the time by f.
func WithClock(f func() time.Time) Option { return func(o *node.Options) { o.Clock = f } }

// WithSync has f make the node's store durable, in place of the system.
func WithSync(f func() error) Option { return func(o *node.Options) { o.Sync = f } }

// WithSyncFault has each sync of the store, and each look at the disk, fail with what f returns; nil lets it through.
func WithSyncFault(f func() error) Option { return func(o *node.Options) { o.SyncFault = f } }

// WithEtcdQuota has the node's etcd be full at so many bytes.
func WithEtcdQuota(bytes int64) Option { return func(o *node.Options) { o.EtcdQuota = bytes } }

// WithRefuse has f asked before each request and each probe; its error is their answer.
func WithRefuse(f func(service subjects.Service, method string) error) Option {
	return func(o *node.Options) { o.Refuse = f }
}

// WithGateway has g take the card payments, in place of the sandbox.
func WithGateway(g paygate.Gateway) Option { return func(o *node.Options) { o.Gateway = g } }

// WithConfig changes the configuration.
func WithConfig(f func(*configs.Config)) Option { return func(o *node.Options) { f(&o.Config) } }

// WithLog has the node write its log to w; WAYBILL_TEST_LOG=debug in the environment shows it on the terminal.
func WithLog(w io.Writer) Option { return func(o *node.Options) { o.Log = zerolog.New(w) } }

// Config is the configuration of a node on free ports of loopback.
func Config(dir string) configs.Config {
	c := configs.Default()
	c.Data, c.NATSAddr, c.HTTPAddr, c.EtcdAddr = dir, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.LogLevel = "error"
	return c
}

// Start starts a node and waits until it takes orders. It fails the test where it does not.
func Start(t testing.TB, options ...Option) *Node {
	t.Helper()
	o := node.Options{Config: Config(t.TempDir()), Version: "0.0.0", Log: zerolog.New(io.Discard)}
	if level := os.Getenv("WAYBILL_TEST_LOG"); level != "" {
		o.Config.LogLevel = level
		o.Log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: "15:04:05.000"}).With().Timestamp().Logger()
	}
	for _, option := range options {
		option(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	n, err := node.Start(ctx, o)
	if err != nil {
		t.Fatalf("the node did not start: %v", err)
	}
	out := &Node{Node: n, Config: o.Config, t: t}
	t.Cleanup(out.Stop)
	return out
}

// Stop ends the node as SIGTERM does; a second call does nothing.
func (n *Node) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Node.Stop(ctx); err != nil {
		n.t.Errorf("the node did not stop cleanly: %v", err)
	}
}

// URL is where its NATS listens.
func (n *Node) URL() string { return n.Endpoints().NATS }

// Client connects a client without credentials, as anybody's till would, for the length of the test.
func (n *Node) Client(t testing.TB) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, n.URL(), client.WithSite(n.Config.Site))
	if err != nil {
		t.Fatalf("no client: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// Stock puts items into the catalog at 2.50 EUR with 19 % tax, and receives quantity of each.
func Stock(t testing.TB, c *client.Client, quantity int64, skus ...id.SKU) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, sku := range skus {
		put := subjects.PutItemRequest{SKU: sku, Name: "Item " + string(sku), UnitPrice: subjects.Money{Amount: 250, Currency: "EUR"}, TaxRateBP: 1900}
		if _, err := client.Call(ctx, c, subjects.CatalogPut, &put); err != nil {
			t.Fatal(err)
		}
		receive := subjects.ReceiveRequest{SKU: sku, Quantity: quantity, Reference: "opening"}
		if _, err := client.Call(ctx, c, subjects.InventoryReceive, &receive); err != nil {
			t.Fatal(err)
		}
	}
}
