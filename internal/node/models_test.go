package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// The seals and the read models come from one reading of the journal; where the one can't be kept the other goes on.
func TestReadModelsWithoutSeals(t *testing.T) {
	t.Parallel()
	var seals string
	n := nodetest.Start(t, nodetest.WithConfig(func(c *configs.Config) {
		seals = filepath.Join(c.Data, "seals.jsonl")
		if err := os.MkdirAll(seals, 0o700); err != nil { // where the file should be
			t.Fatal(err)
		}
	}))
	c := n.Client(t)
	put := subjects.PutItemRequest{SKU: "espresso", Name: "Espresso", UnitPrice: subjects.Money{Amount: 250, Currency: "EUR"}}
	if _, err := client.Call(t.Context(), c, subjects.CatalogPut, &put); err != nil {
		t.Fatal(err)
	}
	listed := func() bool {
		list, err := client.Call(t.Context(), c, subjects.CatalogList, &subjects.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items) == 1
	}
	for deadline := time.Now().Add(20 * time.Second); !listed(); {
		if time.Now().After(deadline) {
			t.Fatal("the item is not listed")
		}
	}

	// Once the file can be made again the journal is sealed from its beginning.
	if err := os.Remove(seals); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(seals); err == nil && info.Mode().IsRegular() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the journal is not sealed again")
		}
	}
}
