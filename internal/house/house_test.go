package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house from the cellar up: a package may import what stands on a lower floor, and of its own floor only what is named
// in beside.
var floors = [][]string{
	{"internal/fault", "internal/id", "internal/money", "internal/timestamp", "internal/scope", "internal/lean", "internal/poll", "internal/quick", "internal/sleep", "internal/guard", "internal/house"},
	{"internal/order", "internal/payment", "internal/inventory", "internal/shipment"}, // the state machines
	{"subjects"},
	{"internal/paygate", "internal/rpc", "internal/journal", "internal/view", "internal/snapshot", "configs"},
	{"internal/vault", "internal/sandbox", "internal/registry", "internal/verify", "embedded", "client"},
	{"handlers", "internal/gateway"},
	{"internal/node"},
	{"internal/nodetest", "internal/faults", "bench", "cmd/waybill"},
}

// beside names the imports within a floor.
var beside = map[string][]string{
	"internal/id":   {"internal/fault"},
	"internal/lean": {"internal/sleep"},
	"cmd/waybill":   {"bench"},
	"bench":         {"internal/nodetest"},
}

// shut names what a package must not import although it stands lower: the journal and rpc know no domain, and the state
// machines neither clocks nor I/O.
var shut = map[string][]string{
	"internal/rpc":       {"internal/order", "internal/payment", "internal/inventory", "internal/shipment"},
	"internal/journal":   {"internal/order", "internal/payment", "internal/inventory", "internal/shipment"},
	"internal/order":     worldly,
	"internal/payment":   worldly,
	"internal/inventory": worldly,
	"internal/shipment":  worldly,
	"internal/money":     worldly,
	"subjects":           {"context", "net", "os", "github.com/nats-io/nats.go"},
	"internal/gateway":   {"handlers", "internal/journal", "internal/view"},
	"client":             {"internal/vault", "internal/sandbox", "internal/registry", "embedded", "internal/view"},
}

var worldly = []string{"context", "time", "os", "net", "math/rand", "math/rand/v2", "crypto/rand", "github.com/nats-io/nats.go"}

func TestImportsPointDownward(t *testing.T) {
	floor := map[string]int{}
	for i, packages := range floors {
		for _, p := range packages {
			floor[p] = i
		}
	}
	root := "../.."
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || rel == "bench/peers") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		at := filepath.ToSlash(filepath.Dir(rel))
		if base, sub := filepath.Split(at); strings.HasSuffix(sub, "test") && at != "internal/nodetest" {
			at = strings.TrimSuffix(base, "/") // helpers of a package's tests live on its floor
		}
		mine, known := floor[at]
		if !known {
			t.Errorf("%s stands on no floor: give its package a place in this test", rel)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, i := range file.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			inner, ours := strings.CutPrefix(name, "waybill/")
			if slices.Contains(shut[at], name) || ours && slices.Contains(shut[at], inner) {
				t.Errorf("%s imports %s, which its package must not know", rel, name)
			}
			if !ours || inner == at {
				continue
			}
			theirs, known := floor[inner]
			if !known || theirs > mine || theirs == mine && !slices.Contains(beside[at], inner) {
				t.Errorf("%s imports %s: imports point downward only", rel, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("only %d files were read: the test looks in the wrong place", seen)
	}
}
