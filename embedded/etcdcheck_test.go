package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestEtcdDamaged damages etcd's files in every way that a disk does: etcd starts all the same, anew, on the port that it had, and
// what was damaged is kept.
func TestEtcdDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd")})
	if first.current().fresh {
		t.Error("a new etcd says that its data was damaged")
	}
	addr := first.Addr()
	for i := range 50 {
		_, err := client.Put(t.Context(), fmt.Sprint("/k", i), "a value that takes some room")
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
			e, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr})
			defer stopEtcd(t, e)
			if !e.current().fresh {
				t.Error("the damage was not noticed")
			}
			_, err = client.Put(t.Context(), "/k", "v")
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
		e, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr})
		defer stopEtcd(t, e)
		if r, err := client.Get(t.Context(), "/k7"); e.current().fresh || err != nil || len(r.Kvs) != 1 {
			t.Errorf("set aside: %t; %v %v", e.current().fresh, r, err)
		}
	})
}

// TestEtcdLogDamagedAnywhere turns 16 bytes of etcd's log, at places drawn at random: etcd starts each time, and is not waited for.
func TestEtcdLogDamagedAnywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd")})
	for i := range 50 {
		_, err := client.Put(t.Context(), fmt.Sprint("/k", i), "a value that takes some room")
		check(t, err)
	}
	stopEtcd(t, first)
	logs, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal"))
	check(t, err)
	text, err := os.ReadFile(logs[0])
	check(t, err)
	end := len(bytes.TrimRight(text, "\x00"))
	lengths := []int{} // every record begins with its length, aligned to 8 bytes: the worst that can be damaged
	for at := 0; at < end; {
		lengths = append(lengths, at)
		at += 8 + (int(binary.LittleEndian.Uint32(text[at:]))+7)&^7
	}
	for n := range 12 {
		at := rand.IntN(end - 16)
		if n%2 == 0 {
			at = lengths[rand.IntN(len(lengths)-3)] // the last ones may be torn by a crash
		}
		t.Run(fmt.Sprint("at ", at), func(t *testing.T) {
			damaged := slices.Clone(text)
			for i := at; i < at+16; i++ {
				damaged[i] ^= byte(i*7) | 1
			}
			other := filepath.Join(t.TempDir(), "etcd")
			check(t, os.CopyFS(other, os.DirFS(filepath.Join(dir, "etcd"))))
			check(t, os.Chmod(other, 0o700))
			check(t, os.WriteFile(filepath.Join(other, "member", "wal", filepath.Base(logs[0])), damaged, 0o600))
			e, _ := keepEtcd(t, EtcdConfig{DataDir: other})
			stopEtcd(t, e)
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
