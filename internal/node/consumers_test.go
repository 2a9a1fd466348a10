package node

import (
	"testing"

	"waybill/internal/registry"
	"waybill/subjects"
)

// TestConsumersHaveOneFilter: with several the server goes through every subject of the site while it holds the store (docs/design.md).
func TestConsumersHaveOneFilter(t *testing.T) {
	t.Parallel()
	for _, durable := range subjects.Durables {
		if c := consumer(subjects.DefaultSite, durable); len(c.Filters) != 1 || c.Filters[0] == "" {
			t.Errorf("the consumer %s has the filters %q, want one", durable, c.Filters)
		}
	}
}

// TestConsumersOfOneService: a service with two consumers is as well as the worse of them, whichever is asked first.
func TestConsumersOfOneService(t *testing.T) {
	t.Parallel()
	fine, stuck := well("consumer"), finding{registry.Check{Name: "consumer", Status: registry.Warning, Message: "it does not move"}, true}
	for _, list := range [][]*finding{{&fine, &stuck}, {&stuck, &fine}, {&stuck}} {
		if got := worst(list); got != stuck {
			t.Errorf("of %v the worst is %v", list, got)
		}
	}
}
