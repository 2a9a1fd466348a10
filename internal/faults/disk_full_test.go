//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"waybill/subjects"
)

// onDisk starts a node on a small disk of its own, with customers at it.
func onDisk(t *testing.T, options string) (disk, dir string, node *process, cs *customers) {
	t.Helper()
	tools(t, "mkfs.ext4", "mount")
	work := scratch(t)
	disk, dir = filepath.Join(work, "disk.img"), filepath.Join(work, "disk")
	image(t, disk, 256<<20, ext4...)
	mount(t, disk, dir, options)
	return disk, dir, start(t, filepath.Join(dir, "site")), newCustomers()
}

// TestFaultDiskFull fills the disk under load: first to below the mark, where new orders are refused and those that are there
// are finished, and then to the last byte. Each time orders flow again once there is space.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	_, dir, node, cs := onDisk(t, "loop")
	e, _ := node.endpoints(t)
	c := node.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer func() { stop() }()
	cs.served(t, 50)
	ballast := filepath.Join(dir, "ballast")

	fill(t, ballast, 24<<20)
	if err := until(30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		err := cs.place(ctx, c, request(16*(cs.last.Add(16)/16)))
		if !refused(err, subjects.ResourceExhausted) {
			return fmt.Errorf("an order on a disk that is almost full: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	empty(t, ballast)
	took, err := cs.flows(t, c, longestHeal)
	if err != nil {
		t.Errorf("no orders %v after there was space: %v", longestHeal, err)
	}
	t.Logf("orders %v after there was space again", took)

	for range number(1, 5) {
		cs.served(t, 20)
		time.Sleep(between(draw, 0, 300*time.Millisecond))
		fill(t, ballast, 0)
		time.Sleep(between(draw, 2*time.Second, 4*time.Second))
		empty(t, ballast)
		stop()
		node, c = healed(t, node, e, c, cs)
		e, _ = node.endpoints(t)
		cs.again(t, c, unanswered)
		audit(t, c, cs)
		stop = cs.crowd(t.Context(), c, 16)
	}
}

func empty(t *testing.T, ballast string) {
	t.Helper()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
}

// TestFaultReadOnly has the kernel find an error in the file system and make it read-only, as it does with a disk that fails.
// Nothing that is asked for afterwards is answered as done, and the node says that it is not ready. What was answered before is
// there once the disk is repaired. The kernel gives such a file system back only to a new mount: the node is stopped for it.
func TestFaultReadOnly(t *testing.T) {
	t.Parallel()
	seed(t)
	disk, dir, node, cs := onDisk(t, "loop,errors=remount-ro")
	tools(t, "e2fsck", "losetup")
	e, _ := node.endpoints(t)
	c := node.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer stop()
	cs.served(t, 100)

	trigger := triggerOf(t, disk)
	if err := os.WriteFile(trigger, []byte("for a test"), 0o600); err != nil {
		lacking(t, "the kernel takes no errors: %v", err)
	}
	failed := time.Now()
	if err := until(20*time.Second, func() error {
		if code, text := node.ready(t, e); code == 200 {
			return fmt.Errorf("on a disk that is read-only the node says that it is ready: %s", text)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	_, text := node.ready(t, e)
	t.Logf("/readyz %v after the failure: %s", time.Since(failed).Round(time.Millisecond), text)
	stop()
	if n := cs.confirmedSince(failed); n > 0 {
		t.Errorf("%d orders were confirmed on a disk that is read-only", n)
	}
	node.alive(t)
	node.kill()
	c.Close()
	if err := unmount(dir); err != nil {
		t.Fatal(err)
	}
	if err := command("e2fsck", "-f", "-y", disk); err != nil && !repaired(err) {
		t.Fatal(err)
	}
	mount(t, disk, dir, "loop")
	settle(t, start(t, node.dir), cs)
}
