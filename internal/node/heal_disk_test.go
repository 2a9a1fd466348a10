package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// mounted returns an empty ext4 file system of its own, which is gone after the test. It skips the test, with the reason, where
// there can be none.
func mounted(t testing.TB, megabytes int64) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can mount a file system, so a full disk is not tested here")
	}
	image, dir := filepath.Join(t.TempDir(), "disk.img"), t.TempDir()
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(megabytes<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: no file system of a file's own, so a full disk is not tested here: %s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if err := until(10*time.Second, func() error { return exec.Command("umount", dir).Run() }); err != nil {
			t.Errorf("%s is still in use: %v", dir, err)
			_ = exec.Command("umount", "-l", dir).Run() // so that at least nothing is left mounted
		}
	})
	return dir
}

// ballast leaves so many bytes of dir's file system free; freed with the function it returns.
func ballast(t testing.TB, dir string, leave uint64) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := 1 << 20
	for size > 0 {
		now := space(t, dir)
		if now < leave+uint64(size) {
			size /= 2
			continue
		}
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Sync(); err != nil {
		t.Log("the ballast: ", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

func space(t testing.TB, dir string) uint64 {
	t.Helper()
	free, err := embedded.FreeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	return free
}

// TestHealFullDisk runs a node on a small file system, fills it under load, and makes room again: twice, once so that only
// the mark for low space is passed, once to the last byte.
func TestHealFullDisk(t *testing.T) {
	t.Parallel()
	dir := mounted(t, 192)
	process := startChild(t, childOrder{Dir: filepath.Join(dir, "site")})
	c := mustDial(t, process.url(t))
	at := process.endpoints(t)
	nodetest.Stock(t, c.Client, 1_000_000, "bulk")
	impatient(t, c, "1s")

	// Little space: new orders are refused with a reason, those that are there go on.
	place(t, c, card("before", "tok_ok", line("bulk", 1)), "confirmed")
	before := shipped(t, c, "before")
	free := ballast(t, dir, 40<<20)
	unready(t, at, "space: the file system is almost full")
	_, err := ask(c, 5*time.Second, subjects.OrderPlace, card("refused", "tok_ok", line("bulk", 1)))
	if fault.CodeOf(err) != fault.ResourceExhausted || !strings.Contains(fmt.Sprint(err), "no new orders until there is space again") {
		t.Errorf("a new order on an almost full disk: %v", err)
	}
	for _, verb := range []subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]{subjects.ShippingBook, subjects.ShippingDispatch, subjects.ShippingDeliver} {
		if _, err := ask(c, 5*time.Second, verb, subjects.ShipmentRequest{ShipmentID: before}); err != nil {
			t.Errorf("%s on an almost full disk: %v", verb.Method, err)
		}
	}
	becomes(t, c, "before", "completed")
	free()
	flows(t, c, "room", healTime)

	// No space at all, under load. The mark is put aside, as if somebody had filled the disk faster than it is looked at.
	l := startLoad(t, "full", 8, c)
	for round := range 2 {
		setting(t, c, "storage.low_space", "1000000")
		flows(t, c, fmt.Sprintf("filling%d", round), healTime)
		free = ballast(t, dir, 0)
		unready(t, at, "restart: it waits: the file system of")
		if round == 1 {
			etcdDies(t, at)
		}
		free()
		flows(t, c, fmt.Sprintf("freed%d", round), healTime)
	}
	if err := until(2*healTime, func() error {
		if r := readiness(t, at); !r.Ready || len(r.Notes) != 2 {
			return fmt.Errorf("/readyz says %+v", r)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := until(healTime, func() error {
		_, err := ask(c, 2*time.Second, subjects.ConfigSet, subjects.SetRequest{Key: "payment.capture", Value: subjects.Raw(`"on_confirm"`)})
		return err
	}); err != nil {
		t.Errorf("etcd is back, and no setting can be written: %v", err)
	}
	l.stands(t, c)
	if err := process.stop(t); err != nil {
		t.Error(err)
	}

	c = mustDial(t, startChild(t, childOrder{Dir: filepath.Join(dir, "site")}).url(t))
	if s, err := ask(c, 5*time.Second, subjects.ConfigGet, subjects.KeyRequest{Key: "payment.capture"}); err != nil || string(s.Value) != `"on_confirm"` {
		t.Errorf("after the restart the setting is %+v %v", s, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "site", "etcd*")); len(left) != 1 {
		t.Errorf("of etcd's directories there are %v", left)
	}
	place(t, c, card("after", "tok_ok", line("bulk", 1)), "confirmed")
	audit(t, c)
}

// etcdDies writes to a node's etcd on a full disk until it gives up.
func etcdDies(t testing.TB, at node.Endpoints) {
	t.Helper()
	e, err := clientv3.New(clientv3.Config{Endpoints: []string{at.Etcd}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	big := strings.Repeat("x", 500_000)
	for i := range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		_, err := e.Put(ctx, fmt.Sprintf("/elsewhere/%d", i), big)
		cancel()
		if err != nil {
			t.Logf("etcd gave up after %d values: %v", i, err)
			return
		}
	}
	t.Error("etcd did not mind the full disk: its restart is not tested")
}
