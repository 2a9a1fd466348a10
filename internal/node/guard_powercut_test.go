package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// disk plays the disk under a node's store, without a power cut's mounts and rights: durable is what the last sync that has ended
// found in the store's files, and everything else is lost with the power. As on a real disk, what is written during a sync may be
// in it or not, and half a message too, in each file for itself.
type disk struct {
	data string // the node's directory

	mu      sync.Mutex
	durable map[string][]byte // by path below the store; nil before the first sync
}

// syncPause is how long a sync takes at least for each file, so that much is written during one.
const syncPause = 500 * time.Microsecond

// sync is the node's. One goroutine calls it.
func (d *disk) sync() error {
	files, err := contents(filepath.Join(d.data, "nats"), syncPause)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = files
	return nil
}

// cut leaves in an empty directory what a node finds when the power is back: its store as it was durable, and its secrets, which
// were made durable before there was a store.
func (d *disk) cut(left string) error {
	d.mu.Lock()
	store := d.durable
	d.mu.Unlock()
	secrets, err := contents(filepath.Join(d.data, "secrets"), 0)
	if err != nil {
		return err
	}
	return errors.Join(lay(filepath.Join(left, "nats"), store), lay(filepath.Join(left, "secrets"), secrets))
}

// lay writes files below a directory.
func lay(dir string, files map[string][]byte) error {
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// contents reads a directory in which files may come and go meanwhile, with a pause after each file. Left out is what consumers have acknowledged: that need
// not survive, and with it the events that were at work at the cut would wait for their consumer's AckWait.
func contents(dir string, pause time.Duration) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "o.dat" {
			var rel string
			if rel, err = filepath.Rel(dir, path); err == nil {
				files[rel], err = os.ReadFile(path)
				time.Sleep(pause)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return files, err
}

// TestPowerCut cuts the power twice while orders come in, each time right after an order is answered. A node that is started on
// what was durable then has every order that was answered before, as it was answered, and brings all that was half done to its
// end.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	powerCut(t, nil)
}

// powerCut is TestPowerCut, with a gateway elsewhere where one is given: what that knows at a cut, it knows when the power is back.
func powerCut(t *testing.T, far *farGateway) {
	d := &disk{data: t.TempDir()}
	on := func(far *farGateway, o ...nodetest.Option) []nodetest.Option {
		if far != nil {
			o = append(o, nodetest.WithGateway(far))
		}
		return o
	}
	n := nodetest.Start(t, on(far, nodetest.InDir(d.data), nodetest.WithSync(d.sync))...)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 100_000, "tea")
	impatient(t, c, "300ms")

	type cut struct {
		after    int // so many answers
		left     string
		far      *farGateway
		answered map[id.Order]subjects.OrderStatus
	}
	cuts := []*cut{{after: 30, left: t.TempDir()}, {after: 90, left: t.TempDir()}}
	var mu sync.Mutex
	told := map[id.Order]subjects.OrderStatus{}
	loading, end := context.WithCancel(within(t))
	defer end()
	answer := func(o id.Order, status subjects.OrderStatus) {
		mu.Lock()
		defer mu.Unlock()
		told[o] = status
		for i, cut := range cuts {
			if len(told) != cut.after {
				continue
			}
			if far != nil {
				cut.far = newFarGateway(far.books.copy()) // first: of what it was asked by now, all is durable
			}
			if err := d.cut(cut.left); err != nil {
				t.Error(err)
			}
			if cut.answered = maps.Clone(told); i == len(cuts)-1 {
				end()
			}
		}
	}
	var number atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for loading.Err() == nil {
				i := number.Add(1)
				token := [...]string{"tok_ok", "tok_ok", "tok_declined", "tok_ok", "tok_ok", "tok_ok", "tok_ok", "tok_timeout"}[i%8]
				r := card(id.Order(fmt.Sprintf("cut%d", i)), token, line("tea", 1))
				o, err := c.Orders.Place(loading, r)
				if err == nil {
					answer(r.OrderID, o.Status)
				} else if loading.Err() == nil {
					t.Errorf("%s: %v", r.OrderID, err)
					return
				}
			}
		})
	}
	all.Wait()
	n.Stop()
	if len(told) < cuts[1].after {
		t.Fatalf("only %d orders were answered", len(told))
	}

	// etcd syncs each write by itself: what it held at the cuts, the settings, it still holds.
	settings, err := contents(filepath.Join(d.data, "etcd"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, cut := range cuts {
		if err := lay(filepath.Join(cut.left, "etcd"), settings); err != nil {
			t.Fatal(err)
		}
		again := nodetest.Start(t, on(cut.far, nodetest.InDir(cut.left))...)
		c := mustDial(t, again.URL())
		gone := 0
		for o, status := range cut.answered {
			now, err := ask(c, 10*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})
			switch {
			case isRefused(err, fault.NotFound):
				gone++
			case err != nil:
				t.Errorf("%s: %v", o, err)
			case status != now.Status && status != "pending":
				t.Errorf("%s was answered %s and is %s", o, status, now.Status)
			}
		}
		if gone > 0 {
			t.Fatalf("cut %d: %d of %d orders that were answered are gone", i+1, gone, len(cut.answered))
		}
		audit(t, c)
		end, err := lastEvent(c)
		if err != nil {
			t.Error(err)
		}
		t.Logf("cut %d: %d orders were answered, the journal is at %d", i+1, len(cut.answered), end)
		again.Stop()
	}
}
