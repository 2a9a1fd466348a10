package view_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	_ "modernc.org/sqlite"

	"waybill/internal/fault"
	"waybill/internal/view"
)

// grown returns the events of some orders and the dump of a view of them.
func grown(t *testing.T, path string) (events []view.Event, v *view.View, want string) {
	t.Helper()
	w := newWorld()
	for range 100 {
		w.order(completed)
	}
	events = w.take()
	v = open(t, path)
	apply(t, v, events, 500)
	return events, v, dump(t, v)
}

// openLogged opens the view and returns what it logged meanwhile.
func openLogged(t *testing.T, path string) (*view.View, string) {
	t.Helper()
	var log bytes.Buffer
	v, err := view.Open(t.Context(), path, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v, log.String()
}

func TestCleanRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a view?#%41.db") // no character of a path may be read as part of an address
	events, v, want := grown(t, path)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 || left[0] != path {
		t.Fatalf("files after a clean stop: %q", left)
	}
	again, log := openLogged(t, path)
	if log != "" || dump(t, again) != want {
		t.Fatalf("log %q, dump:\n%s", log, dump(t, again))
	}
	wantPosition(t, again, events[len(events)-1].Sequence)
}

// TestKilled opens what a killed process leaves behind: the file and its log, as they are at a moment in between.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view.db")
	events, _, want := grown(t, path)
	after := filepath.Join(t.TempDir(), "view.db")
	copyFile(t, path, after)
	copyFile(t, path+"-wal", after+"-wal")
	v, log := openLogged(t, after)
	if log != "" || dump(t, v) != want {
		t.Fatalf("log %q, dump:\n%s", log, dump(t, v))
	}
	wantPosition(t, v, events[len(events)-1].Sequence)
}

// TestLogLost opens what a power cut may leave: the file without the end of its log. The view is older, and whole.
func TestLogLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view.db")
	events, _, want := grown(t, path)
	after := filepath.Join(t.TempDir(), "view.db")
	copyFile(t, path, after)
	copyFile(t, path+"-wal", after+"-wal")
	info, err := os.Stat(after + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(after+"-wal", info.Size()/3); err != nil {
		t.Fatal(err)
	}
	v, _ := openLogged(t, after)
	at, id, err := v.Position(t.Context())
	if err != nil || at == events[len(events)-1].Sequence {
		t.Fatalf("position %d %v: nothing was lost, so this shows nothing", at, err)
	}
	if at > 0 && events[at-1].EventID != id {
		t.Fatalf("position %d has event id %q", at, id)
	}
	apply(t, v, events, 400)
	if d := dump(t, v); d != want {
		t.Fatalf("caught up:\n%s", d)
	}
}

func TestUnfitFilesAreRebuilt(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"header overwritten": func(t *testing.T, path string) { overwrite(t, path, 0, bytes.Repeat([]byte("x"), 200)) },
		"not a database":     func(t *testing.T, path string) { write(t, path, []byte("hello, this is just a text\n")) },
		"cut off":            func(t *testing.T, path string) { check(t, os.Truncate(path, 40_000)) },
		"another database": func(t *testing.T, path string) {
			check(t, os.Remove(path))
			execute(t, path, "CREATE TABLE recipes (id INTEGER PRIMARY KEY, text TEXT)")
		},
		"another version":  func(t *testing.T, path string) { execute(t, path, "PRAGMA user_version = 99999") },
		"without position": func(t *testing.T, path string) { execute(t, path, "DELETE FROM position") },
		"page overwritten, not closed cleanly": func(t *testing.T, path string) {
			execute(t, path, "UPDATE position SET clean = 0; PRAGMA wal_checkpoint(TRUNCATE)")
			overwrite(t, path, 20*4096, bytes.Repeat([]byte{0xff}, 4096))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "view.db")
			events, v, want := grown(t, path)
			check(t, v.Close())
			spoil(t, path)
			again, log := openLogged(t, path)
			if !strings.Contains(log, "rebuilt from the journal") || strings.Count(log, "\n") != 1 {
				t.Fatalf("log %q", log)
			}
			wantPosition(t, again, 0)
			apply(t, again, events, 300)
			if d := dump(t, again); d != want {
				t.Fatalf("rebuilt:\n%s", d)
			}
		})
	}
}

// TestDamageFoundLater overwrites pages of a file that was closed cleanly: opening does not read them, reading does, and the
// start after that throws the file away.
func TestDamageFoundLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view.db")
	_, v, _ := grown(t, path)
	check(t, v.Close())
	info, err := os.Stat(path)
	check(t, err)
	overwrite(t, path, 24*4096, bytes.Repeat([]byte{0xff}, int(info.Size())-24*4096))
	v, log := openLogged(t, path)
	if log != "" {
		t.Fatalf("the damage was found at once, so this shows nothing: %s", log)
	}
	wantCode(t, v.Dump(t.Context(), &bytes.Buffer{}), fault.Unavailable)
	check(t, v.Close())
	again, log := openLogged(t, path)
	if !strings.Contains(log, "rebuilt from the journal") {
		t.Fatalf("log %q", log)
	}
	wantPosition(t, again, 0)
}

func TestResetMendsADamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view.db")
	events, v, want := grown(t, path)
	check(t, v.Close())
	overwrite(t, path, 24*4096, bytes.Repeat([]byte{0xff}, 200*4096))
	v, _ = openLogged(t, path)
	check(t, v.Reset(t.Context()))
	apply(t, v, events, 300)
	if d := dump(t, v); d != want {
		t.Fatalf("rebuilt:\n%s", d)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	check(t, os.WriteFile(path, b, 0o600))
}

func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt(b, at)
	check(t, err)
	check(t, f.Close())
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	check(t, err)
	write(t, to, b)
}

func execute(t *testing.T, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	check(t, err)
	_, err = db.Exec(statements)
	check(t, err)
	check(t, db.Close())
}

// TestKilledIsNotChecked: where a process was killed, and the system not, the next start does not read the whole file; after
// another boot it does.
func TestKilledIsNotChecked(t *testing.T) {
	if view.BootMark() == 0 {
		t.Skip("skipped: this system does not name its boot")
	}
	for name, c := range map[string]struct {
		mark    int64
		checked bool
	}{"of this boot": {view.BootMark(), false}, "of another boot": {view.BootMark() ^ 4, true}, "of a boot that is not known": {0, true}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "view.db")
			_, v, _ := grown(t, path)
			check(t, v.Close())
			execute(t, path, fmt.Sprintf("UPDATE position SET clean = %d; PRAGMA wal_checkpoint(TRUNCATE)", c.mark))
			overwrite(t, path, 20*4096, bytes.Repeat([]byte{0xff}, 4096)) // a check finds it, and nothing else at a start
			_, log := openLogged(t, path)
			if checked := strings.Contains(log, "rebuilt from the journal"); checked != c.checked {
				t.Fatalf("checked: %v; log %q", checked, log)
			}
		})
	}
}
