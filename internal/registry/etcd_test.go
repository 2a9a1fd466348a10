package registry

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"waybill/configs"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// patience is how long a test waits for what must come; a test that passes does not wait so long.
const patience = 15 * time.Second

// shared is an etcd for the tests that do not stop theirs. Each test has a site of its own in it.
var shared string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil { // they wait more than they work
		panic(err)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "registry")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	e, err := launch(dir, "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared = e.addr
	code := m.Run()
	e.Close()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// processEnv is set where the tests are to run over an etcd that is a process of its own, and not over one in theirs.
const processEnv = "WAYBILL_TEST_ETCD_PROCESS"

// TestOverAnEtcdProcess runs all the tests of this package again, over the etcd that the system has.
func TestOverAnEtcdProcess(t *testing.T) {
	if os.Getenv(processEnv) != "" {
		t.Skip("that is what is running")
	}
	t.Parallel()
	etcdtest.Program(t, "etcd")
	again := exec.CommandContext(t.Context(), must[string](t)(os.Executable()), "-test.timeout=3m")
	again.Env = append(os.Environ(), processEnv+"=1")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// server is an etcd, in this process or one of its own, that a test may stop before its end.
type server struct {
	inside *embed.Etcd // nil of a process
	addr   string
	end    func()
	once   sync.Once
}

func (s *server) Close() { s.once.Do(s.end) }

// launch starts an etcd and waits until it answers.
func launch(dir, addr string) (*server, error) {
	dir = filepath.Join(dir, "etcd")
	if os.Getenv(processEnv) != "" {
		p, err := etcdtest.Start(dir, addr)
		if err != nil {
			return nil, err
		}
		return &server{addr: p.Addr, end: p.Stop}, nil
	}
	e, err := launchInside(dir, addr)
	if err != nil {
		return nil, err
	}
	return &server{inside: e, addr: e.Clients[0].Addr().String(), end: e.Close}, nil
}

func launchInside(dir, addr string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = dir
	c.TickMs, c.ElectionMs = 10, 100
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.ListenClientUrls = []url.URL{{Scheme: "http", Host: addr}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.AdvertisePeerUrls = c.ListenPeerUrls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err := <-e.Err():
		e.Close()
		return nil, err
	case <-time.After(patience):
		e.Close()
		return nil, fmt.Errorf("etcd is not ready after %s", patience)
	}
}

func startEtcd(t *testing.T, dir, addr string) *server {
	t.Helper()
	s := must[*server](t)(launch(dir, addr))
	t.Cleanup(s.Close)
	return s
}

// redialOften has a client look for an etcd that is away every tenth of a second; by itself it does so after a second first, and more and
// more seldom.
var redialOften = grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1,
	MaxDelay: 100 * time.Millisecond}, MinConnectTimeout: time.Second})

func dial(t *testing.T, addr string, options ...grpc.DialOption) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop(), DialTimeout: time.Second, DialOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // its error is the end of its own context
	return c
}

// sites are the names of sites that tests have been given, by test; siteCount counts them.
var (
	sites     sync.Map
	siteCount atomic.Int64
)

// site is a name that belongs to this run of this test alone.
func site(t *testing.T) subjects.Site {
	if known, ok := sites.Load(t); ok {
		return known.(subjects.Site)
	}
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	given, _ := sites.LoadOrStore(t, subjects.Site(fmt.Sprintf("%s-%d", name[:min(len(name), 20)], siteCount.Add(1))))
	return given.(subjects.Site)
}

// logBuffer is a log that a test can read.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// node is a registry with what belongs to it.
type node struct {
	*Registry
	live   *configs.Live
	log    *logBuffer
	client *clientv3.Client
}

// open starts an instance in the shared etcd, unless change says otherwise.
func open(t *testing.T, instance string, change func(*Options)) node {
	t.Helper()
	n := node{live: configs.NewLive(), log: &logBuffer{}}
	o := Options{Site: site(t), Instance: instance, Live: n.live, Log: zerolog.New(n.log)}
	if change != nil {
		change(&o)
	}
	if o.Client == nil {
		o.Client = dial(t, shared)
	}
	n.client = o.Client
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // for the tests that open without etcd: it bounds the opening alone
	defer cancel()
	r, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	n.Registry = r
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = r.Close(ctx) // the etcd of a test may be gone by now
	})
	return n
}

// crash ends an instance as kill -9 would, as far as etcd sees it: its leases are neither renewed nor revoked.
func (n node) crash() {
	n.Registry.stop()
	n.Registry.loops.Wait()
	if s := n.Registry.health.session; s != nil {
		s.Orphan()
		n.Registry.health.session = nil
	}
}

// next waits for something to come out of a channel.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("waiting for %s: the channel was closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("waited %s for %s", patience, what)
	}
	var none T
	return none
}

// until asks again and again for something that nothing announces.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

// keyWatch tells of the changes of one key: its new value, or "" for its end.
func keyWatch(t *testing.T, c *clientv3.Client, key string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	watch := c.Watch(ctx, key, clientv3.WithCreatedNotify())
	if got := next(t, watch, "the watch"); !got.Created {
		t.Fatal("the watch did not begin")
	}
	changes := make(chan string, 1000)
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for got := range watch {
			for _, e := range got.Events {
				if !done.Load() {
					changes <- string(e.Kv.Value)
				}
			}
		}
	}()
	t.Cleanup(func() {
		done.Store(true)
		cancel()
		<-ended
	})
	return changes
}

func put(t *testing.T, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	got, err := c.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return got.Header.Revision
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
