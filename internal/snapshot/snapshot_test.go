package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var header = Header{Content: "stock", Format: 1, Site: "local", Sequence: 7, ID: "an-id", Hash: "a-hash"}

func write(t *testing.T, path string, h Header, content string) {
	t.Helper()
	size, err := Write(path, h, func(w io.Writer) error { _, err := io.WriteString(w, content); return err })
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != size {
		t.Fatalf("%v, %v, %d bytes were said to be written", info, err, size)
	}
}

func read(path string) (Header, string, error) {
	s, err := Open(path)
	if err != nil {
		return Header{}, "", err
	}
	defer s.Close()
	content, err := io.ReadAll(s.Content)
	return s.Header, string(content), err
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stock.snapshot")
	if _, _, err := read(path); !errors.Is(err, ErrNone) {
		t.Fatalf("where there is none: %v", err)
	}
	for _, content := range []string{"", "a book", string(bytes.Repeat([]byte("x\n\x00"), 100_000))} {
		write(t, path, header, content)
		if h, got, err := read(path); err != nil || h != header || got != content {
			t.Fatalf("%+v, %d bytes, %v", h, len(got), err)
		}
	}
}

// TestDamaged: no change of one byte and no cut goes unnoticed.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stock.snapshot")
	write(t, path, header, "a book")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, got, err := read(path); err == nil || errors.Is(err, ErrNone) {
			t.Fatalf("%s: %+v, %q, %v", what, h, got, err)
		}
	}
	for n := range whole {
		refused(fmt.Sprintf("cut at %d", n), whole[:n])
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1 << (n % 8)
		refused(fmt.Sprintf("byte %d", n), flipped)
	}
	refused("longer", append(bytes.Clone(whole), 0))
	refused("another file", bytes.Repeat([]byte("SQLite format 3\x00"), 100))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(path); err == nil {
		t.Fatal("a directory is taken for a snapshot")
	}
}

// TestWriteFails: the former one stays, and nothing is left beside it.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stock.snapshot")
	write(t, path, header, "the former one")
	broken := errors.New("broken")
	if _, err := Write(path, header, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		return broken
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := Write(path, header, func(w io.Writer) error {
		_, err := w.Write(make([]byte, maxSize)) // is refused before it is touched
		return err
	}); err == nil {
		t.Fatal("there is no bound")
	}
	if _, got, err := read(path); err != nil || got != "the former one" {
		t.Fatalf("%q, %v", got, err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
}

const childFile = "WAYBILL_SNAPSHOT_CHILD"

// TestKilledWriter: a process that does nothing but write snapshots is killed again and again; what is found is always whole.
func TestKilledWriter(t *testing.T) {
	if path := os.Getenv(childFile); path != "" {
		writeForEver(path)
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stock.snapshot")
	found := 0
	for kill := range 12 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		child.Env = append(os.Environ(), childFile+"="+path)
		said, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(said, make([]byte, 1)); err != nil { // it has begun to write
			t.Fatal(err)
		}
		time.Sleep(time.Duration(kill) * 3 * time.Millisecond) // any moment of its work will do
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		h, content, err := read(path)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil || content != string(numbered(h.Sequence)) {
			t.Fatalf("after kill %d: the snapshot %d has %d bytes, %v", kill, h.Sequence, len(content), err)
		}
		found++
	}
	if found == 0 {
		t.Fatal("no snapshot was ever written")
	}
}

func numbered(n uint64) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%08d", n), 50_000+int(n%7)*10_000)
}

func writeForEver(path string) {
	fmt.Print(".")
	for n := uint64(1); ; n++ {
		content := numbered(n)
		h := header
		h.Sequence = n
		if _, err := Write(path, h, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
