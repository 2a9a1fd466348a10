package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"waybill/internal/fault"
)

// TestEtcdDamaged damages etcd's files in every way that a disk does: etcd starts all the same, anew, on the port that it had, and
// what was damaged is kept.
func TestEtcdDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd")})
	if kept := setAside(t, filepath.Join(dir, "etcd")); len(kept) > 0 {
		t.Errorf("a new etcd set aside %v", kept)
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
			before := setAside(t, filepath.Join(dir, "etcd"))
			e, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr})
			defer stopEtcd(t, e)
			_, err = client.Put(t.Context(), "/k", "v")
			check(t, err)
			if kept := setAside(t, filepath.Join(dir, "etcd")); len(kept) > keptDamaged || slices.Equal(kept, before) {
				t.Errorf("kept %v, before it %v", kept, before)
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
		before := setAside(t, filepath.Join(dir, "etcd"))
		e, client := keepEtcd(t, EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: addr})
		defer stopEtcd(t, e)
		after := setAside(t, filepath.Join(dir, "etcd"))
		if r, err := client.Get(t.Context(), "/k7"); !slices.Equal(before, after) || err != nil || len(r.Kvs) != 1 {
			t.Errorf("set aside: %v, before %v; %v %v", after, before, r, err)
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

// setAside are the damaged directories of the etcd in dir.
func setAside(t testing.TB, dir string) []string {
	t.Helper()
	kept, err := filepath.Glob(dir + ".damaged-*")
	return must(t, kept, err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestEtcdKeepsTheLatestDamaged sets data aside while older ones have later names, as a clock that was set back leaves them.
func TestEtcdKeepsTheLatestDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	for _, year := range []string{"2998", "2999"} {
		check(t, os.Mkdir(dir+".damaged-"+year, 0o700))
	}
	check(t, os.Mkdir(dir, 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "member"), []byte("damaged"), 0o600))
	check(t, setAsideDamaged(dir, testLog(t).Level(8)))
	kept := setAside(t, dir)
	if len(kept) != keptDamaged || kept[1] != dir+".damaged-2999" {
		t.Fatalf("kept %v", kept)
	}
	text, err := os.ReadFile(filepath.Join(kept[0], "member"))
	if err != nil || string(text) != "damaged" {
		t.Errorf("%q, %v", text, err)
	}
}

// limitEnv is set for a process of this test's binary that looks at etcd's data under a limit; its value is the limit and the directory.
const limitEnv = "WAYBILL_TEST_LIMIT"

// TestEtcdSystemErrorIsNoDamage looks at whole data with too little memory to map it, and with no file left to open: it stays where it is.
func TestEtcdSystemErrorIsNoDamage(t *testing.T) {
	if limit, dir, ok := strings.Cut(os.Getenv(limitEnv), " "); ok {
		status, err := os.ReadFile("/proc/self/statm")
		check(t, err)
		pages, err := strconv.Atoi(strings.Fields(string(status))[0])
		check(t, err)
		resource, most := syscall.RLIMIT_AS, uint64(pages*os.Getpagesize())+64<<20
		if limit == "files" {
			resource, most = syscall.RLIMIT_NOFILE, 4
		}
		check(t, syscall.Setrlimit(resource, &syscall.Rlimit{Cur: most, Max: most}))
		refused(t, setAsideDamaged(dir, testLog(t)), fault.Unavailable, "can't be read now")
		return
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k, _ := keepEtcd(t, EtcdConfig{DataDir: dir})
	stopEtcd(t, k)
	check(t, os.Truncate(databaseFile(dir), 512<<20)) // of holes
	for limit, mark := range map[string]error{"memory": syscall.ENOMEM, "files": syscall.EMFILE} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEtcdSystemErrorIsNoDamage$", "-test.v")
		cmd.Env = append(os.Environ(), limitEnv+"="+limit+" "+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", mark, err, out)
		}
		if left := entries(t, filepath.Dir(dir)); left != "etcd" {
			t.Fatalf("%s: the directory holds %s", mark, left)
		}
	}
	check(t, checkEtcd(dir)) // without the limits it is whole
}
