package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestEtcdDamaged damages etcd's files in every way that a disk does: etcd starts all the same, anew, on the port that it had, and
// what was damaged is kept.
func TestEtcdDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := StartEtcd(ctxFor(t, 20*time.Second), EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: "127.0.0.1:0", Log: testLog(t)})
	check(t, err)
	if first.Fresh {
		t.Error("a new etcd says that its data was damaged")
	}
	addr := first.Addr()
	for i := range 50 {
		_, err := first.Client().Put(t.Context(), fmt.Sprint("/k", i), "a value that takes some room")
		check(t, err)
	}
	stopEtcd(t, first)

	member := filepath.Join(dir, "etcd", "member")
	db := filepath.Join(member, "snap", "db")
	logs, err := filepath.Glob(filepath.Join(member, "wal", "*.wal"))
	check(t, err)
	log := logs[0]
	scramble := func(file string, from, to int) func() error {
		return func() error {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for i := from; i < min(to, len(text)); i++ {
				text[i] ^= byte(i*7) | 1
			}
			return os.WriteFile(file, text, 0o600)
		}
	}
	whole := filepath.Join(dir, "whole")
	check(t, os.CopyFS(whole, os.DirFS(filepath.Join(dir, "etcd"))))
	for name, damage := range map[string]func() error{
		"database":            scramble(db, 0, 1<<30),
		"inside the database": scramble(db, 8192, 1<<30),
		"database cut off":    func() error { return os.Truncate(db, 9000) },
		"database empty":      func() error { return os.Truncate(db, 0) },
		"log":                 scramble(log, 0, 4000),
		"bytes of the log":    scramble(log, 700, 716), // more than what fills up a record, which nobody reads
		"log gone":            func() error { return os.RemoveAll(filepath.Dir(log)) },
		"a file in its place": func() error {
			return firstError(os.RemoveAll(member), os.WriteFile(member, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.RemoveAll(filepath.Join(dir, "etcd")))
			check(t, os.CopyFS(filepath.Join(dir, "etcd"), os.DirFS(whole)))
			check(t, os.Chmod(filepath.Join(dir, "etcd"), 0o700))
			check(t, damage())
			e, err := StartEtcd(ctxFor(t, 20*time.Second), EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr, Log: testLog(t)})
			check(t, err)
			defer stopEtcd(t, e)
			if !e.Fresh {
				t.Error("the damage was not noticed")
			}
			_, err = e.Client().Put(t.Context(), "/k", "v")
			check(t, err)
			kept, err := filepath.Glob(filepath.Join(dir, "etcd.damaged-*"))
			if err != nil || len(kept) == 0 || len(kept) > keptDamaged {
				t.Errorf("kept %v, %v", kept, err)
			}
		})
	}

	// A log whose last record was cut off, as a crash leaves it, is mended by etcd itself.
	t.Run("a torn record", func(t *testing.T) {
		check(t, os.RemoveAll(filepath.Join(dir, "etcd")))
		check(t, os.CopyFS(filepath.Join(dir, "etcd"), os.DirFS(whole)))
		check(t, os.Chmod(filepath.Join(dir, "etcd"), 0o700))
		text, err := os.ReadFile(log)
		check(t, err)
		end := len(text)
		for end > 0 && text[end-1] == 0 {
			end--
		}
		check(t, os.Truncate(log, int64(end-9)))
		e, err := StartEtcd(ctxFor(t, 20*time.Second), EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr, Log: testLog(t)})
		check(t, err)
		defer stopEtcd(t, e)
		if r, err := e.Client().Get(t.Context(), "/k7"); e.Fresh || err != nil || len(r.Kvs) != 1 {
			t.Errorf("set aside: %t; %v %v", e.Fresh, r, err)
		}
	})
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
