package embedded

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nkeys"

	"waybill/internal/fault"
)

// refused fails the test unless err has the code and says all of the words.
func refused(t testing.TB, err error, code fault.Code, words ...string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if m := fault.From(err).Message; strings.Contains(m, "\n") {
		t.Errorf("not one line: %q", m)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestSecrets(t *testing.T) {
	old := syscall.Umask(0) // the modes must not hang on it
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := OpenSecrets(dir)
	check(t, err)
	if s.Master == [32]byte{} {
		t.Error("the master key is empty")
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		check(t, err)
		info, err := d.Info()
		check(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	})
	check(t, err)
	again, err := OpenSecrets(dir)
	check(t, err)
	if again.Master != s.Master {
		t.Error("another master key")
	}
	seen := map[string]bool{}
	for _, u := range Users() {
		a, err := s.User(u)
		check(t, err)
		b, err := again.User(u)
		check(t, err)
		pa, _ := a.PublicKey()
		pb, _ := b.PublicKey()
		if pa != pb || !nkeys.IsValidPublicUserKey(pa) || seen[pa] {
			t.Errorf("%s: %s, then %s", u, pa, pb)
		}
		seen[pa] = true
	}
	_, err = s.User("nobody")
	refused(t, err, fault.NotFound, "nobody")
	_, err = s.Option("nobody")
	refused(t, err, fault.NotFound, "nobody")
}

func TestSecretsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(dir string) error
		words  []string
	}{
		"readable key":     {func(d string) error { return os.Chmod(filepath.Join(d, "master.key"), 0o640) }, []string{"master.key", "0640", "chmod 600"}},
		"readable seed":    {func(d string) error { return os.Chmod(filepath.Join(d, "users", "order.nk"), 0o604) }, []string{"order.nk", "0604", "chmod 600"}},
		"open directory":   {func(d string) error { return os.Chmod(d, 0o755) }, []string{"secrets", "0755", "chmod 700"}},
		"open users":       {func(d string) error { return os.Chmod(filepath.Join(d, "users"), 0o710) }, []string{"users", "0710", "chmod 700"}},
		"short key":        {func(d string) error { return os.WriteFile(filepath.Join(d, "master.key"), []byte("short"), 0o600) }, []string{"5 bytes", "backup"}},
		"lost key":         {func(d string) error { return os.Remove(filepath.Join(d, "master.key")) }, []string{"missing", "backup"}},
		"damaged seed":     {func(d string) error { return os.WriteFile(filepath.Join(d, "users", "order.nk"), []byte("SU"), 0o600) }, []string{"order.nk", "no nkey seed"}},
		"directory a file": {func(d string) error { os.RemoveAll(d); return os.WriteFile(d, nil, 0o600) }, []string{"is a file"}},
		"link": {func(d string) error {
			p := filepath.Join(d, "master.key")
			if err := os.Rename(p, p+".real"); err != nil {
				return err
			}
			return os.Symlink(p+".real", p)
		}, []string{"symbolic link"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "secrets")
			_, err := OpenSecrets(dir)
			check(t, err)
			check(t, c.damage(dir))
			_, err = OpenSecrets(dir)
			refused(t, err, fault.FailedPrecondition, c.words...)
		})
	}
}

// A user that a later version adds gets its key; the others keep theirs.
func TestSecretsNewUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := OpenSecrets(dir)
	check(t, err)
	check(t, os.Remove(filepath.Join(dir, "users", "webhook.nk")))
	again, err := OpenSecrets(dir)
	check(t, err)
	for u, same := range map[string]bool{"webhook": false, "order": true} {
		a, _ := s.users[u].PublicKey()
		b, _ := again.users[u].PublicKey()
		if (a == b) != same {
			t.Errorf("%s: %s, then %s", u, a, b)
		}
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := Lock(dir)
	check(t, err)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	_, err = Lock(dir)
	refused(t, err, fault.FailedPrecondition, dir, "in use by process "+strconv.Itoa(os.Getpid())+" (waybill serve)", "--data")
	check(t, l.Unlock())
	l, err = Lock(dir)
	check(t, err)
	check(t, l.Unlock())
	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, nil, 0o600))
	_, err = Lock(file)
	refused(t, err, fault.FailedPrecondition, "is a file")
}

// The lock of a process that was killed is free.
func TestLockOfTheDead(t *testing.T) {
	if dir := os.Getenv("EMBEDDED_LOCK_DIR"); dir != "" {
		if _, err := Lock(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		select {} // until the kill
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfTheDead$")
	cmd.Env = append(os.Environ(), "EMBEDDED_LOCK_DIR="+dir)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	b := make([]byte, 7)
	if _, err := out.Read(b); err != nil || !bytes.HasPrefix(b, []byte("locked")) {
		t.Fatalf("%q %v", b, err)
	}
	_, err = Lock(dir)
	refused(t, err, fault.FailedPrecondition, "process "+strconv.Itoa(cmd.Process.Pid))
	check(t, cmd.Process.Kill())
	cmd.Wait()
	l, err := Lock(dir)
	check(t, err)
	check(t, l.Unlock())
}

func TestVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "version.json")
	check(t, CheckVersion(dir, "waybill 1.0.0"))
	if b, err := os.ReadFile(path); err != nil || string(b) != `{"format":1,"program":"waybill 1.0.0"}`+"\n" {
		t.Errorf("%s %v", b, err)
	}
	check(t, CheckVersion(dir, "waybill 1.0.1"))
	if b, _ := os.ReadFile(path); !bytes.Contains(b, []byte("1.0.1")) {
		t.Errorf("%s", b)
	}
	newer := []byte(`{"format":2,"program":"waybill 9","more":true}`)
	check(t, os.WriteFile(path, newer, 0o600))
	refused(t, CheckVersion(dir, "waybill 1.0.1"), fault.FailedPrecondition, "newer program", "waybill 9", "format 2, this one knows 1", dir)
	if b, _ := os.ReadFile(path); !bytes.Equal(b, newer) {
		t.Errorf("the newer file was touched: %s", b)
	}
	for _, bad := range []string{"", "{", `{"format":0}`, `{"format":"1"}`, `[]`} {
		check(t, os.WriteFile(path, []byte(bad), 0o600))
		refused(t, CheckVersion(dir, "waybill 1.0.1"), fault.FailedPrecondition, "version.json")
	}
}

func TestAnnounce(t *testing.T) {
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	kp, err := nkeys.CreateServer()
	check(t, err)
	id, err := kp.PublicKey()
	check(t, err)
	if dir, ok := Find(id); ok {
		t.Errorf("found %s before it was announced", dir)
	}
	remove, err := Announce(id, "data")
	check(t, err)
	want, err := filepath.Abs("data")
	check(t, err)
	if dir, ok := Find(id); !ok || dir != want {
		t.Errorf("found %q %v", dir, ok)
	}
	path := filepath.Join(run, "waybill", id)
	check(t, os.Chmod(path, 0o606))
	if _, ok := Find(id); ok {
		t.Error("trusted a file that others can write")
	}
	check(t, os.Chmod(path, 0o600))
	check(t, os.Chmod(filepath.Dir(path), 0o777))
	if _, ok := Find(id); ok {
		t.Error("trusted a directory that others can write")
	}
	_, err = Announce(id, "data")
	refused(t, err, fault.FailedPrecondition, "0777")
	check(t, os.Chmod(filepath.Dir(path), 0o700))
	remove()
	remove()
	if _, ok := Find(id); ok {
		t.Error("found after it was removed")
	}
	for _, bad := range []string{"", "../../etc/passwd", "N", "x"} {
		if _, ok := Find(bad); ok {
			t.Errorf("found %q", bad)
		}
		_, err := Announce(bad, "data")
		refused(t, err, fault.InvalidArgument)
	}
}

func TestCheckListener(t *testing.T) {
	for _, c := range []struct {
		addr       string
		tls, creds bool
		code       fault.Code
		says       string
	}{
		{"127.0.0.1:4222", false, false, "", ""},
		{"127.9.9.9:0", false, false, "", ""},
		{"[::1]:4222", false, false, "", ""},
		{"[::ffff:127.0.0.1]:4222", false, false, "", ""},
		{"localhost:4222", false, false, "", ""},
		{"0.0.0.0:4222", true, true, "", ""},
		{"0.0.0.0:4222", false, false, fault.FailedPrecondition, "credentials and TLS"},
		{"0.0.0.0:4222", true, false, fault.FailedPrecondition, "credentials"},
		{"0.0.0.0:4222", false, true, fault.FailedPrecondition, "TLS"},
		{":4222", false, false, fault.FailedPrecondition, ":4222"},
		{"[::]:4222", false, false, fault.FailedPrecondition, "[::]:4222"},
		{"192.168.1.5:4222", false, false, fault.FailedPrecondition, "192.168.1.5:4222"},
		{"localhost.example.com:4222", false, false, fault.FailedPrecondition, "localhost.example.com"},
		{"127.0.0.1.example.com:4222", false, false, fault.FailedPrecondition, "example.com"},
		{"127.0.0.1", false, false, fault.InvalidArgument, "127.0.0.1"},
		{"127.0.0.1:http", false, false, fault.InvalidArgument, "http"},
		{"127.0.0.1:65536", false, false, fault.InvalidArgument, "65536"},
		{"127.0.0.1:-1", false, false, fault.InvalidArgument, "-1"},
		{"", false, false, fault.InvalidArgument, "4222"},
	} {
		err := CheckListener(c.addr, c.tls, c.creds)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", c.addr, err)
			}
			continue
		}
		refused(t, err, c.code, c.says)
	}
}
