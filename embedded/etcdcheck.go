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

// setAsideDamaged moves the directory away if what is in it can't be read, and reports whether it did.
func setAsideDamaged(dir string, log zerolog.Logger) (bool, error) {
	damage := checkEtcd(dir)
	if damage == nil {
		return false, nil
	}
	to := fmt.Sprintf("%s.damaged-%s", dir, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(dir, to); err != nil {
		return false, fault.Wrap(err, fault.FailedPrecondition, "etcd's data in %s is damaged (%v) and can't be moved away: check the directory's owner", dir, damage)
	}
	log.Error().Err(damage).Str("moved_to", to).Msg("etcd's data is damaged; it is set aside, and etcd begins anew with the last known settings")
	old, err := filepath.Glob(dir + ".damaged-*")
	if err != nil {
		return true, nil // a directory whose name is a bad pattern: nothing is tidied up
	}
	slices.Sort(old)
	for len(old) > keptDamaged {
		if err := os.RemoveAll(old[0]); err != nil {
			log.Warn().Err(err).Msg("an old damaged directory of etcd can't be removed")
		}
		old = old[1:]
	}
	return true, privateDir(dir)
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
			err = fmt.Errorf("%v", r)
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
			err = fmt.Errorf("%v", r)
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
