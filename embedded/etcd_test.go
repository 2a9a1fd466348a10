package embedded

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

func startEtcd(t *testing.T, dir string) *Etcd {
	t.Helper()
	begin := time.Now()
	e, err := StartEtcd(ctxFor(t, 10*time.Second), EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: "127.0.0.1:0", Log: testLog(t)})
	check(t, err)
	t.Logf("started in %v", time.Since(begin))
	t.Cleanup(func() { stopEtcd(t, e) })
	return e
}

func stopEtcd(t *testing.T, e *Etcd) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestEtcd(t *testing.T) {
	dir := t.TempDir()
	ctx := ctxFor(t, 20*time.Second)
	e := startEtcd(t, dir)
	check(t, e.Healthy())
	_, err := e.Client().Put(ctx, "/waybill/local/config/a", "1")
	check(t, err)

	// A plain client over TCP sees the same, and nobody from outside gets a page.
	tcp, err := clientv3.New(clientv3.Config{Endpoints: []string{e.Addr()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	check(t, err)
	r, err := tcp.Get(ctx, "/waybill/local/config/a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "1" {
		t.Errorf("over TCP: %+v %v", r, err)
	}
	check(t, tcp.Close())
	for host, want := range map[string]int{"": http.StatusOK, "evil.example.com": http.StatusMisdirectedRequest} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addr()+"/version", nil)
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
	check(t, e.Stop(ctx))
	t.Logf("stopped in %v", time.Since(begin))
	refused(t, e.Healthy(), fault.Unavailable, "stopped")
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

	e = startEtcd(t, dir)
	r, err = e.Client().Get(ctx, "/waybill/local/config/a")
	if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "1" {
		t.Errorf("after a restart: %+v %v", r, err)
	}
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
			e, err := StartEtcd(ctxFor(t, 10*time.Second), c.config)
			if err == nil {
				stopEtcd(t, e)
				t.Fatal("started")
			}
			t.Log(err)
			refused(t, err, c.code, c.says...)
		})
	}
}

// A fatal complaint ends the goroutine that made it, and neither the process nor what else runs.
func TestEtcdLogFatal(t *testing.T) {
	l := newEtcdLog(testLog(t))
	done := make(chan bool)
	go func() {
		defer close(done)
		l.zap().With(zap.String("dir", "x")).Fatal("failed to save state", zap.String("error", "no space left on device"))
		t.Error("went on after a fatal complaint")
	}()
	<-done
	select {
	case <-l.fatal:
	default:
		t.Error("the complaint was not kept")
	}
	if l.why() != "failed to save state: no space left on device" {
		t.Errorf("%q", l.why())
	}
}
