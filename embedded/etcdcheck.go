package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

// Etcd holds nothing that the site could not do without: settings are kept on disk beside it, health and elections are made anew. So
// data of etcd that is damaged is set aside rather than a reason not to start; and it is looked for before etcd runs, because what
// etcd finds later it finds in goroutines of its own, where a panic ends the process.

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
// returned for a directory that etcd can start on, also an empty one, and for one that can't be opened: etcd's own error says more.
func checkEtcd(dir string) error {
	member := filepath.Join(dir, "member")
	info, err := os.Stat(member)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is no directory", member)
	}
	if err := checkLog(filepath.Join(member, "wal")); err != nil {
		return fmt.Errorf("its log: %w", err)
	}
	if err := checkDatabase(filepath.Join(member, "snap", "db")); err != nil {
		return fmt.Errorf("its database: %w", err)
	}
	return nil
}

func checkLog(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	known, err := wal.ValidSnapshotEntries(zap.NewNop(), dir)
	if err == nil {
		last := &walpb.Snapshot{}
		if len(known) > 0 {
			last = known[len(known)-1]
		}
		_, err = wal.Verify(zap.NewNop(), dir, last)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fs.ErrPermission) { // etcd mends a record that was cut off by a crash
		return nil
	}
	return err
}

func checkDatabase(file string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that is too short is mapped into memory that is not there
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}
