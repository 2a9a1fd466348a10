package embedded

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
)

// TestHearing hands lines to the parent in pieces, with what is no word and what is too long among them.
func TestHearing(t *testing.T) {
	var said bytes.Buffer
	out := zerolog.New(&said)
	newEtcdLog(out).zap().With(zap.String("dir", "x")).Error("failed to save state", zap.String("error", "no space left on device"))
	newEtcdLog(out).zap().Warn("slow", zap.Int("ms", 7))
	said.WriteString("what is no word\n" + `{"level":"warn","message":"` + strings.Repeat("x", lineMost) + "\"}\n")
	out.Log().Str(wordKey, wordReady).Str("addr", "127.0.0.1:1").Send()
	for _, piece := range []int{1, 7, 4096, said.Len()} {
		var words []etcdWord
		var log bytes.Buffer
		h := &hearing{word: func(w etcdWord) { words = append(words, w) }, log: zerolog.New(&log).Level(zerolog.InfoLevel)}
		_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{bytes.NewReader(said.Bytes())}, make([]byte, piece))
		check(t, err)
		want := []etcdWord{{Word: wordError, Reason: "failed to save state: no space left on device"}, {Word: wordReady, Addr: "127.0.0.1:1"}}
		if len(words) != 2 || words[0] != want[0] || words[1] != want[1] {
			t.Errorf("in pieces of %d: %+v", piece, words)
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"dir":"x"`) || !strings.Contains(lines[0], `"message":"failed to save state"`) || !strings.Contains(lines[1], `"ms":7`) {
			t.Errorf("in pieces of %d the log is %q", piece, lines)
		}
	}
}

// TestLastWords hands over more than is kept, before a crash and after it.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ said, want string }{
		"nothing":           {"", ""},
		"no crash":          {strings.Repeat("noise\n", 1_500), ""},
		"a panic":           {strings.Repeat("noise\n", 1_500) + "panic: planted\n\ngoroutine 7 [running]:\n" + strings.Repeat("main.f()\n", 5_000), "panic: planted"},
		"an error of a bus": {"unexpected fault address 0x1\nfatal error: fault\n[signal SIGBUS: bus error]\n\ngoroutine 7:\n", "unexpected fault address 0x1 fatal error: fault [signal SIGBUS: bus error]"},
	} {
		for _, piece := range []int{7, 4096} {
			var w lastWords
			_, err := io.CopyBuffer(struct{ io.Writer }{&w}, struct{ io.Reader }{strings.NewReader(c.said)}, make([]byte, piece))
			check(t, err)
			if got := w.crash(); got != c.want || len(w.String()) > endMost {
				t.Errorf("%s, in pieces of %d: %q, and %d bytes are kept", name, piece, got, len(w.String()))
			}
		}
	}
}

// TestEtcdComplaint has a start wait and go on: what it waited for is no reason for what comes later.
func TestEtcdComplaint(t *testing.T) {
	var p etcdProcess
	for _, c := range []struct {
		word etcdWord
		want string
	}{
		{etcdWord{Word: wordWaits, Reason: "a former one"}, "a former one"},
		{etcdWord{Word: wordWaits}, "it gave no reason"},
		{etcdWord{Word: wordError, Reason: "slow"}, "slow"},
		{etcdWord{Word: wordWaits, Reason: "a former one"}, "slow"},
	} {
		if p.hear(c.word); p.complaint() != c.want {
			t.Errorf("after %+v: %q", c.word, p.complaint())
		}
	}
}
