package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

// Etcd holds nothing that the site could not do without: settings are kept on disk beside it, health and elections are made anew. So
// data of etcd that is damaged is set aside rather than a reason not to start; and it is looked for before etcd runs, because what
// etcd finds later it finds in goroutines of its own, where a panic ends the process, each time anew.

// keptDamaged is how many damaged directories are kept for whoever wants to know.
const keptDamaged = 2

// setAsideDamaged moves the directory away if what is in it is damaged; before that it notes on disk that the next one has to be given
// what it should hold, so that no end of this process or of the machine makes an empty etcd of it. Errors: unavailable where the system
// keeps the data from being read, which proves no damage; failed_precondition where it can't be moved.
func setAsideDamaged(dir string, log zerolog.Logger) error {
	damage := checkEtcd(dir)
	switch {
	case damage == nil:
		return nil
	case passing(damage):
		return fault.Wrap(damage, fault.Unavailable, "etcd's data in %s can't be read now (%v): check the disk, and the limits on memory and open files", dir, damage)
	}
	if err := markForSeed(dir); err != nil {
		return err
	}
	to := fmt.Sprintf("%s.damaged-%s", dir, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(dir, to); err != nil {
		return fault.Wrap(err, fault.FailedPrecondition, "etcd's data in %s is damaged (%v) and can't be moved away: check the directory's owner", dir, damage)
	}
	log.Error().Err(damage).Str("moved_to", to).Msg("etcd's data is damaged; it is set aside, and etcd begins anew with the last known settings")
	forgetDamaged(dir, to, log)
	return privateDir(dir)
}

// forgetDamaged removes the damaged directories that are too many, the oldest by their names, but never the latest, whatever the clock
// was when the others were named.
func forgetDamaged(dir, latest string, log zerolog.Logger) {
	old, err := filepath.Glob(dir + ".damaged-*")
	if err != nil {
		return // a directory whose name is a bad pattern: nothing is tidied up
	}
	slices.Sort(old)
	old = slices.DeleteFunc(old, func(name string) bool { return name == latest })
	for len(old) >= keptDamaged {
		if err := os.RemoveAll(old[0]); err != nil {
			log.Warn().Err(err).Msg("an old damaged directory of etcd can't be removed")
		}
		old = old[1:]
	}
}

// checkEtcd reads all that etcd has written: every page of its database that holds data, and every record of its log. nil is
// returned for a directory that etcd can start on, also an empty one, and for one that can't be opened or is in use: etcd's own error says more.
func checkEtcd(dir string) error {
	member := filepath.Join(dir, "member")
	info, err := os.Stat(member)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is no directory", member)
	}
	logged, err := checkLog(filepath.Join(member, "wal"))
	if err != nil {
		return fmt.Errorf("its log: %w", err)
	}
	applied, err := checkDatabase(databaseFile(dir))
	if err != nil {
		return fmt.Errorf("its database: %w", err)
	}
	if applied > logged { // the log is synced before its entries are applied, so no crash does that; etcd would wait for them for ever
		return fmt.Errorf("its database holds entries up to %d, its log only those up to %d", applied, logged)
	}
	return nil
}

// checkLog returns the index of the last entry that can be read. A record at which a crash cut off the log ends it: etcd mends that.
func checkLog(dir string) (last uint64, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	known, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if errors.Is(err, fs.ErrPermission) {
		return math.MaxUint64, nil
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	from := &walpb.Snapshot{}
	if len(known) > 0 {
		from = known[len(known)-1]
	}
	w, err := wal.OpenForRead(zap.NewNop(), dir, from)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	_, _, entries, err := w.ReadAll()
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	if len(entries) == 0 {
		return from.GetIndex(), nil
	}
	return entries[len(entries)-1].GetIndex(), nil
}

// checkDatabase returns the index of the last entry that the database holds.
func checkDatabase(file string) (applied uint64, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that is too short is mapped into memory that is not there
	defer func() {
		if r := recover(); r != nil {
			// A page that can't be read from a mapped file looks like one that is not there; a plain read tells them apart.
			if err = readable(file); err == nil {
				err = recovered(r)
			}
		}
	}()
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, bolterrors.ErrTimeout) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(schema.Meta.Name()); meta != nil {
			if index := meta.Get(schema.MetaConsistentIndexKeyName); len(index) == 8 {
				applied = binary.BigEndian.Uint64(index)
			}
		}
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
	return applied, err
}

// recovered is what a panic says, as an error that still has its cause.
func recovered(r any) error {
	if err, ok := r.(error); ok {
		return err
	}
	return fmt.Errorf("%v", r)
}

// readable reads a whole file and returns what keeps it from being read.
func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}
