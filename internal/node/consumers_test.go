package node

import (
	"testing"

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
