//go:build linux

package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waybill/internal/verify"
)

// cut is one moment at which the power could have failed, and what had happened by then.
type cut struct {
	image         string
	before, after time.Time // the copy began and was there
}

// TestFaultPowerCut cuts the power under load: the node's directory is on a file system in a file, and copies of that file hold
// what the disk holds at a moment, nothing of what the system still keeps in memory. Each is mounted and a node started on it:
// what was answered before the copy began is there, everything comes to its end, and the verification finds nothing.
func TestFaultPowerCut(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	dir := powerless(t)
	cuts := 0
	for round := range number(1, 20) {
		cs, points := underLoad(t, dir, draw, fmt.Sprintf("round-%d", round), 0, number(3, 5))
		for _, p := range points {
			seen := cs.asOf(p.before, p.after)
			if n := seen.count()["confirmed"]; n == 0 {
				t.Errorf("%s: nothing was confirmed before the cut", p.image)
			}
			survive(t, dir, p, seen)
			cuts++
		}
	}
	t.Logf("%d power cuts", cuts)
}

// TestFaultPowerCutFast cuts the power of a node that was told to be fast. It may lose what was answered, and what a
// verification says then is printed; it starts and takes orders all the same. Only with -faults.all.
func TestFaultPowerCutFast(t *testing.T) {
	if !*faultsAll {
		t.Skip("what it finds is for people to read: with -faults.all")
	}
	draw := seed(t)
	dir := powerless(t)
	// The kernel writes back by itself what has been waiting for 30 s; before that all is lost.
	for round, lead := range []time.Duration{0, 40 * time.Second} {
		cs, points := underLoad(t, dir, draw, fmt.Sprintf("round-%d", round), lead, 5, "WAYBILL_DURABILITY=fast")
		for _, p := range points {
			func() {
				node, unplug := plugIn(t, dir, p.image, "WAYBILL_DURABILITY=fast")
				defer unplug()
				c := node.client(t)
				seen := cs.asOf(p.before, p.after)
				var s state
				if err := until(20*time.Second, func() (err error) { // what is still at work is not stuck
					if s, err = look(c); err == nil && strings.Contains(s.rules(), verify.RuleStuck) {
						err = errors.New("something still waits")
					}
					return err
				}); err != nil {
					t.Logf("after 20 s: %v", err)
				}
				lost := 0
				for name, o := range seen.orders() {
					if o.status == "confirmed" && s.orders[name] != "confirmed" {
						lost++
					}
				}
				t.Logf("of %v answered, %d confirmed ones are lost; the verification: %s", seen.count(), lost, s.rules())
				for i, v := range s.report.Violations[:min(4, len(s.report.Violations))] {
					t.Logf("  %d. %s: %s at %d: %s", i+1, v.Rule, v.Subject, v.Sequence, v.Message)
				}
				open(t, c) // the goods may be lost, too
				if _, err := cs.flows(t, c, 30*time.Second); err != nil {
					t.Errorf("no orders after the cut: %v", err)
				}
			}()
		}
	}
}

// powerless makes a directory in which copies of files cost nothing.
func powerless(t *testing.T) string {
	t.Helper()
	tools(t, "mkfs.ext4", "mkfs.xfs", "mount")
	work := scratch(t)
	dir := filepath.Join(work, "xfs")
	image(t, dir+".img", 4<<30, xfs...)
	mount(t, dir+".img", dir, "loop")
	return dir
}

// underLoad runs a node in a fresh file system under load, and after lead copies the file system n times at random moments.
func underLoad(t *testing.T, dir string, draw *rand.Rand, name string, lead time.Duration, n int, env ...string) (*customers, []cut) {
	t.Helper()
	disk := filepath.Join(dir, name+".img")
	image(t, disk, 512<<20, ext4...)
	node, unplug := plugIn(t, dir, disk, env...)
	defer unplug()
	c := node.client(t)
	cs := newCustomers()
	open(t, c)
	stop := cs.crowd(t.Context(), c, 24)
	defer stop()
	cs.served(t, 20)
	time.Sleep(lead)
	var points []cut
	for i := range n {
		time.Sleep(between(draw, 20*time.Millisecond, 600*time.Millisecond))
		p := cut{image: filepath.Join(dir, fmt.Sprintf("%s-cut-%d.img", name, i)), before: time.Now()}
		if err := clone(disk, p.image); err != nil {
			t.Fatal(err)
		}
		p.after = time.Now()
		points = append(points, p)
	}
	node.alive(t)
	node.kill()
	return cs, points
}

// plugIn mounts an image and starts a node on it; unplug ends both and removes the image.
func plugIn(t *testing.T, dir, disk string, env ...string) (node *process, unplug func()) {
	t.Helper()
	at := filepath.Join(dir, "at-"+filepath.Base(disk))
	mount(t, disk, at, "loop")
	node = start(t, filepath.Join(at, "site"), env...)
	return node, func() {
		node.kill()
		if err := unmount(at); err != nil {
			t.Error(err)
		}
		if err := os.Remove(disk); err != nil {
			t.Error(err)
		}
	}
}

// survive starts a node on what a cut has left, and audits it. The customers ask again for what they had no answer to.
func survive(t *testing.T, dir string, p cut, seen *customers) {
	t.Helper()
	node, unplug := plugIn(t, dir, p.image)
	defer unplug()
	c := node.client(t)
	if wrong := findings(c, seen); len(wrong) > 0 {
		t.Errorf("after the cut at %s, of %v answered:", p.before.Format("15:04:05.000"), seen.count())
		for _, w := range wrong {
			t.Error(w)
		}
	}
	seen.again(t, c, unanswered)
	audit(t, c, seen)
}
