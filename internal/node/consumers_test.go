package node

import (
	"testing"

	"waybill/internal/registry"
	"waybill/subjects"
)

// TestConsumersHaveAFilter: each durable consumer reads one kind of events (docs/design.md).
func TestConsumersHaveAFilter(t *testing.T) {
	t.Parallel()
	for _, durable := range subjects.Durables {
		if c := consumer(subjects.DefaultSite, durable); c.Filter == "" {
			t.Errorf("the consumer %s has no filter", durable)
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
