package registry

import (
	"os"
	"path/filepath"
	"testing"

	"waybill/internal/fault"
	"waybill/subjects"
)

// TestLastKnown reads what a new etcd is given: what is good, with who set it; a file that can't be read is an error, none is none.
func TestLastKnown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.json")
	ask := func() ([]Pair, error) { return LastKnown("local", file) }
	if got, err := ask(); err != nil || len(got) != 0 {
		t.Errorf("without a file: %v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte(`{"settings":{"`+inFlight+`":{"value":7,"set_by":"ann"},"no.such":{"value":1},"rpc.handle_wait":{"value":[]}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := Pair{Key: subjects.ConfigPrefix("local") + inFlight, Value: "7", Note: auditPrefix("local") + inFlight, NoteValue: `{"by":"ann"}`}
	got, err := ask()
	if err != nil || len(got) != 1 || got[0].Key != want.Key || got[0].Value != want.Value || got[0].Note != want.Note || readAudit([]byte(got[0].NoteValue)).By != "ann" {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(); fault.CodeOf(err) != fault.FailedPrecondition || len(got) != 0 {
		t.Errorf("a file that can't be read: %v, %v", got, err)
	}
}
