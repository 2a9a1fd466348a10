package registry

import (
	"errors"
	"io/fs"
	"os"

	"github.com/go-json-experiment/json"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/subjects"
)

// Pair is a key, and a second one that says who set the first.
type Pair struct{ Key, Value, Note, NoteValue string }

// LastKnown is what an etcd that has lost the site's settings should hold: those that stateFile holds, as far as they are good, each
// with who set it. A file that is not there holds none. It is to be asked before that etcd can be read: Open would take what etcd does not
// hold for deleted. Error: failed_precondition for a file that can't be read, with the system's error as its cause where there is one.
func LastKnown(site subjects.Site, stateFile string) ([]Pair, error) {
	text, err := os.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.FailedPrecondition, "the last known settings in %s can't be read", stateFile)
	}
	var pairs []Pair
	for key, saved := range state.Settings {
		declared, ok := configs.Lookup(key)
		if !ok {
			continue // as at each start
		}
		good, err := declared.Check(saved.Value)
		if err != nil {
			continue
		}
		note, err := json.Marshal(audit{By: saved.SetBy, At: saved.SetAt})
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "the record of who set %s could not be written", key)
		}
		pairs = append(pairs, Pair{Key: subjects.ConfigPrefix(site) + key, Value: string(good), Note: auditPrefix(site) + key, NoteValue: string(note)})
	}
	return pairs, nil
}
