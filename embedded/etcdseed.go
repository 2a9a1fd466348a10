package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"waybill/internal/fault"
)

// An etcd whose data was set aside begins with nothing, which whoever reads it would take for the truth. So it is given what it should
// hold before it listens; and that this is still to be done stands on disk, from before its data is set aside until after it was done.

// Pair is a key, and a second one that says something of the first: both are written as one revision.
type Pair struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Note      string `json:"note"` // the second key
	NoteValue string `json:"note_value"`
}

// seedMark is the file that says that the etcd in dir is still to be given what it should hold.
func seedMark(dir string) string { return filepath.Clean(dir) + ".reseed" }

// markForSeed writes the mark, durably.
func markForSeed(dir string) error {
	f, err := os.OpenFile(seedMark(dir), os.O_CREATE|os.O_WRONLY, fileMode)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err == nil {
		err = syncDir(filepath.Dir(seedMark(dir)))
	}
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be written: check the owner of its directory, and free space", seedMark(dir))
	}
	return nil
}

// seedEtcd gives etcd what it should hold, where that is still to be done, and takes the mark away. Nobody can reach etcd meanwhile: it
// does not listen. What is there already stays. Error: unavailable where it could not all be written; the next start does it.
func seedEtcd(o etcdOrder, host string, out zerolog.Logger, stop <-chan struct{}) error {
	mark := seedMark(o.DataDir)
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be read: check the disk", mark)
	}
	if o.NoSeed != "" {
		out.Error().Str("error", o.NoSeed).Msg("the last known settings can't be read; etcd begins without them, and the defaults hold")
	}
	if len(o.Seed) > 0 {
		log := newEtcdLog(out)
		c := etcdConfig(o, host, log)
		c.ListenClientUrls = nil
		e, err := openEtcd(o, c, log, stop)
		if err != nil || e == nil {
			return err
		}
		client := v3client.New(e.Server)
		written, err := plantPairs(client, o.Seed)
		log.stopping.Store(true)
		client.Close() // its error is the end of its own context
		e.Close()
		if err != nil {
			return fault.Wrap(err, fault.Unavailable, "the last known settings can't be written to the new etcd (%v)", err)
		}
		out.Warn().Int("settings", written).Msg("the last known settings were written to the new etcd")
	}
	if err := os.Remove(mark); err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be removed: check the owner of its directory", mark)
	}
	return syncDir(filepath.Dir(mark))
}

// seedWait bounds the writing of all pairs to an etcd within the process.
const seedWait = 30 * time.Second

// plantPairs writes what is not there yet, and returns how many pairs it wrote.
func plantPairs(client *clientv3.Client, pairs []Pair) (written int, err error) {
	ctx, cancel := context.WithTimeout(client.Ctx(), seedWait)
	defer cancel()
	for _, p := range pairs {
		done, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(p.Key), "=", 0)).
			Then(clientv3.OpPut(p.Note, p.NoteValue), clientv3.OpPut(p.Key, p.Value)).Commit()
		if err != nil {
			return written, err
		}
		if done.Succeeded {
			written++
		}
	}
	return written, nil
}
