package embedded

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

// keepEtcd keeps an etcd for the length of the test, by default in a directory of its own and on any port, and a client of it.
func keepEtcd(t testing.TB, c EtcdConfig) (*KeptEtcd, *clientv3.Client) {
	t.Helper()
	if c.DataDir == "" {
		c.DataDir = filepath.Join(t.TempDir(), "etcd")
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	c.Log = testLog(t).Level(8)
	begin := time.Now()
	k, err := KeepEtcd(ctxFor(t, 20*time.Second), c, NewDisk(filepath.Dir(c.DataDir), func() uint64 { return 1 << 20 }, nil))
	check(t, err)
	t.Logf("started in %v", time.Since(begin))
	t.Cleanup(func() { stopEtcd(t, k) })
	return k, dialEtcd(t, k)
}

// stopEtcd ends an etcd; one that is stopped already stays so.
func stopEtcd(t testing.TB, k *KeptEtcd) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := k.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func dialEtcd(t testing.TB, k *KeptEtcd) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{k.Addr()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	check(t, err)
	t.Cleanup(func() { _ = c.Close() }) // its error is the end of its own context
	return c
}

// current is the process of the moment; nil where none runs.
func (k *KeptEtcd) current() *etcdProcess {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func holds(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	r, err := c.Get(ctxFor(t, 20*time.Second), key)
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
		t.Errorf("%s is %+v, %v; want %s", key, r, err, value)
	}
}

func TestEtcd(t *testing.T) {
	dir := t.TempDir()
	ctx := ctxFor(t, 20*time.Second)
	k, c := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd")})
	check(t, k.Healthy())
	_, err := c.Put(ctx, "/waybill/local/config/a", "1")
	check(t, err)

	// Nobody from outside gets a page.
	for host, want := range map[string]int{"": http.StatusOK, "evil.example.com": http.StatusMisdirectedRequest} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+k.Addr()+"/version", nil)
		check(t, err)
		req.Host = host
		req.Header.Set("Origin", "http://evil.example.com")
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		check(t, err)
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != want || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("host %q: %s, %v", host, res.Status, res.Header)
		}
	}
	begin := time.Now()
	stopEtcd(t, k)
	t.Logf("stopped in %v", time.Since(begin))
	refused(t, k.Healthy(), fault.Unavailable, "stopped")
	var size int64
	check(t, filepath.WalkDir(filepath.Join(dir, "etcd"), func(_ string, d fs.DirEntry, err error) error {
		info, ierr := d.Info()
		if err == nil && ierr == nil {
			size += info.Size()
		}
		return err
	}))
	if size > 32<<20 {
		t.Errorf("%d bytes on disk", size)
	}

	_, c = keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd")})
	holds(t, c, "/waybill/local/config/a", "1")
}

func TestEtcdStartRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		config EtcdConfig
		code   fault.Code
		says   []string
	}{
		"port taken":      {EtcdConfig{Addr: taken.Addr().String()}, fault.Unavailable, []string{"port " + port + " is taken", "--etcd-addr"}},
		"open to all":     {EtcdConfig{Addr: "0.0.0.0:0"}, fault.FailedPrecondition, []string{"0.0.0.0:0"}},
		"a file in place": {EtcdConfig{Addr: "127.0.0.1:0", DataDir: file}, fault.FailedPrecondition, []string{file, "is a file"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.DataDir == "" {
				c.config.DataDir = filepath.Join(t.TempDir(), "etcd")
			}
			c.config.Log = testLog(t)
			k, err := KeepEtcd(ctxFor(t, 10*time.Second), c.config, NewDisk(t.TempDir(), func() uint64 { return 1 }, nil))
			if err == nil {
				stopEtcd(t, k)
				t.Fatal("started")
			}
			t.Log(err)
			refused(t, err, c.code, c.says...)
			if left := children(t); left != "" {
				t.Errorf("after the failed start there is %s", left)
			}
		})
	}
}

// TestEtcdEnvironment looks that etcd's process gets nothing of its parent's environment, which may hold secrets.
func TestEtcdEnvironment(t *testing.T) {
	t.Setenv("WAYBILL_SECRET_GATEWAY", "hush")
	k, _ := keepEtcd(t, EtcdConfig{})
	text, err := os.ReadFile(filepath.Join("/proc", itoa(k.current().cmd.Process.Pid), "environ"))
	check(t, err)
	if strings.Contains(string(text), "hush") || !strings.Contains(string(text), etcdMark) {
		t.Errorf("its environment is %q", text)
	}
	name, err := os.ReadFile(filepath.Join("/proc", itoa(k.current().cmd.Process.Pid), "cmdline"))
	if err != nil || strings.TrimRight(string(name), "\x00") != "waybill: etcd" {
		t.Errorf("ps shows %q, %v", name, err)
	}
}
