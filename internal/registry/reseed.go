package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/go-json-experiment/json"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/fault"
	"waybill/subjects"
)

// Reseed writes the last known settings, which stateFile holds, into an etcd that has lost its own, where nobody has set them since.
// It is called before Open, which would take what etcd does not hold for deleted. A file that is not there is nothing to write.
// Errors: unavailable when etcd does not answer, failed_precondition for a file that can't be read.
func Reseed(ctx context.Context, client *clientv3.Client, site subjects.Site, stateFile string) (count int, err error) {
	text, err := os.ReadFile(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		return 0, fault.Wrap(err, fault.FailedPrecondition, "the last known settings in %s can't be read; the defaults hold", stateFile)
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	for key, saved := range state.Settings {
		note, err := json.Marshal(audit{By: saved.SetBy, At: saved.SetAt})
		if err != nil {
			return count, fault.Wrap(err, fault.Internal, "the record of who set %s could not be written", key)
		}
		config, audits := subjects.ConfigPrefix(site)+key, auditPrefix(site)+key
		done, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(config), "=", 0)).
			Then(clientv3.OpPut(audits, string(note)), clientv3.OpPut(config, string(saved.Value))).Commit()
		if err != nil {
			return count, unavailable(err, "the last known settings can't be written to it")
		}
		if done.Succeeded {
			count++
		}
	}
	return count, nil
}
