package node_test

import (
	"slices"
	"testing"

	"waybill/client"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestHealthAndDiscovery looks at a site of two processes as an operator does.
func TestHealthAndDiscovery(t *testing.T) {
	t.Parallel()
	a := nodetest.Start(t)
	b := beside(t, a, services(subjects.Order, subjects.Inventory))
	c := mustDial(t, a.URL())
	h, err := c.Health.List(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if h.Degraded != "" || h.Journal == nil || h.Journal.Sequence == 0 || len(h.Consumers) != len(subjects.Durables) || len(h.Instances) != len(subjects.Services)+2 {
		t.Errorf("the health is %+v", h)
	}
	want := map[subjects.Service]string{subjects.Order: "consumer", subjects.Payment: "gateway", subjects.Config: "endpoints", subjects.Catalog: "durability"}
	for _, in := range h.Instances {
		if name := want[in.Service]; in.Status != "passing" || name != "" && !slices.ContainsFunc(in.Checks, func(c subjects.Check) bool { return c.Name == name }) {
			t.Errorf("%s has %+v, want a check %s", in.Service, in, name)
		}
	}
	count := func() map[string]int {
		d, err := c.Services(within(t))
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, s := range d.Services {
			n[s.Seen]++
			n[string(s.Service)+" "+s.Seen]++
		}
		return n
	}
	if n := count(); n[client.SeenBoth] != len(subjects.Services)+1 || n["inventory "+client.Standby] != 1 || n["order "+client.SeenBoth] != 2 || n[client.SeenNATS]+n[client.SeenEtcd] != 0 {
		t.Errorf("discovery has %v", n)
	}
	b.Stop()
	if n := count(); n[client.SeenBoth] != len(subjects.Services) || len(n) != 1+len(subjects.Services) {
		t.Errorf("after a stop discovery has %v", n)
	}
}
