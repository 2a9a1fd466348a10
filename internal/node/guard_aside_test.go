package node_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// illness makes one service of one process refuse all that it is asked, as its own doctor finds by the same way.
type illness struct {
	service subjects.Service
	ill     atomic.Bool
	asked   atomic.Int64 // requests, not probes
}

// refuse is the node's hook.
func (i *illness) refuse(service subjects.Service, method string) error {
	if service != i.service {
		return nil
	}
	if method != "probe" {
		i.asked.Add(1)
	}
	if i.ill.Load() {
		return fault.New(fault.Unavailable, "%s is ill", service)
	}
	return nil
}

// TestCriticalStepsAside makes a service of one process ill that shares its queue group, and one of the other that leads. Etcd says
// so, they are asked nothing any more, and nothing that is asked of the site fails. Once they are well they take part again.
func TestCriticalStepsAside(t *testing.T) {
	t.Parallel()
	both := func(leader, member *illness) nodetest.Option {
		return nodetest.WithRefuse(func(service subjects.Service, method string) error {
			return errors.Join(leader.refuse(service, method), member.refuse(service, method)) // one of them at most
		})
	}
	leader, member := &illness{service: subjects.Inventory}, &illness{service: subjects.Order}
	leaderB, memberA := &illness{service: subjects.Inventory}, &illness{service: subjects.Order}
	a := nodetest.Start(t, both(leader, memberA))
	c := mustDial(t, a.URL())
	nameA := health(t, c).Instances[0].Instance
	b := beside(t, a, both(leaderB, member))
	nodetest.Stock(t, c.Client, 100_000, "tea")
	nameB := ""
	for _, in := range health(t, c).Instances {
		if in.Instance != nameA {
			nameB = in.Instance
		}
	}
	if health(t, c).Leaders[subjects.RoleInventory] == nameB { // who was there first leads, but where the machine was too busy for it
		nameA, nameB, leader, member, b = nameB, nameA, leaderB, memberA, nil
	}
	number := 0
	// Some at a time. What somebody ill refuses has failed; a disk that is busy with other things may make an order late.
	orders := func(count int) (failed []string) {
		answers := make([]string, count)
		end := time.Now().Add(20 * time.Second)
		var refused atomic.Bool
		crowd(count, 4, func(i int) {
			o := id.Order(fmt.Sprintf("aside-%d", number+i))
			for {
				info, err := ask(c, 8*time.Second, subjects.OrderPlace, card(o, "tok_ok", line("tea", 1)))
				switch {
				case err != nil:
					answers[i] = fmt.Sprintf("%s: %v", o, err)
				case info.Status != "confirmed":
					answers[i] = fmt.Sprintf("%s is %s", o, info.Status)
				default:
					answers[i] = ""
					return
				}
				if err != nil && strings.Contains(err.Error(), "is ill") {
					refused.Store(true)
				}
				if refused.Load() || time.Now().After(end) { // there is nothing to wait for any more
					return
				}
				time.Sleep(50 * time.Millisecond) // the background process is at it
			}
		})
		number += count
		for _, f := range answers {
			if f != "" {
				failed = append(failed, f)
			}
		}
		return failed
	}
	if failed := orders(40); len(failed) > 0 || member.asked.Load() == 0 {
		t.Fatalf("before, the orders of the one that is to fall ill were asked %d times, and failed: %v", member.asked.Load(), failed)
	}

	leader.ill.Store(true)
	member.ill.Store(true)
	began := time.Now()
	for _, want := range []struct {
		service  subjects.Service
		instance string
	}{{subjects.Inventory, nameA}, {subjects.Order, nameB}} {
		if err := until(20*time.Second, func() error {
			if s := statusOf(health(t, c), want.service, want.instance); s != "critical" {
				return fmt.Errorf("%s of %s is ill, and in etcd it is %q", want.service, want.instance, s)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("etcd said critical %s after the illness", time.Since(began))
	_ = until(4*time.Second, func() error { // what they are asked after that counts
		if h := health(t, c); h.Leaders[subjects.RoleInventory] != nameB {
			return fmt.Errorf("the leaders are %v", h.Leaders)
		}
		d, err := c.Services(within(t))
		if err != nil {
			return err
		}
		for _, s := range d.Services {
			if s.Service == subjects.Order && s.Instance == nameB && s.Seen != client.SeenEtcd {
				return fmt.Errorf("discovery has %+v", s)
			}
		}
		return nil
	})
	before := [2]int64{leader.asked.Load(), member.asked.Load()}
	if failed := orders(100); len(failed) > 0 {
		t.Errorf("%d of 100 orders failed beside an instance that is well, the first: %s", len(failed), failed[0])
	}
	for i, ill := range []*illness{leader, member} {
		if n := ill.asked.Load() - before[i]; n > 0 {
			t.Errorf("%s is critical, and was asked all the same, %d times", ill.service, n)
		}
	}
	if t.Failed() {
		return // the rest would wait for what can't come
	}

	leader.ill.Store(false)
	member.ill.Store(false)
	began = time.Now()
	if err := until(60*time.Second, func() error {
		if failed := orders(4); len(failed) > 0 {
			t.Errorf("while they come back: %v", failed)
		}
		h := health(t, c)
		if m, l := statusOf(h, subjects.Order, nameB), statusOf(h, subjects.Inventory, nameA); m != "passing" || l != "passing" || member.asked.Load() == before[1] {
			return fmt.Errorf("they are well, and etcd says %s and %s, and %d requests came", m, l, member.asked.Load()-before[1])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("they took part again %s after they were well", time.Since(began))
	if b == nil {
		return // the other process holds the store
	}
	b.Stop()
	if err := until(10*time.Second, func() error {
		if failed := orders(1); len(failed) > 0 {
			return fmt.Errorf("%v", failed)
		}
		return nil
	}); err != nil {
		t.Fatalf("who was ill does not lead again: %v", err)
	}
	if leader.asked.Load() == before[0] {
		t.Error("the stock was written, and its writer was not asked")
	}
}

func health(t testing.TB, c *dialed) *subjects.HealthInfo {
	t.Helper()
	h, err := ask(c, 10*time.Second, subjects.HealthList, subjects.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func statusOf(h *subjects.HealthInfo, service subjects.Service, instance string) string {
	for _, in := range h.Instances {
		if in.Service == service && in.Instance == instance {
			return string(in.Status)
		}
	}
	return ""
}
