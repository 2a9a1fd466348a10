package embedded

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// Etcd's process and its parent speak by lines. The parent writes the order, and later wordStop; the end of that input without
// the word is the parent's end. The process writes lines of its log, as zerolog makes them. Those of which the parent has to know more have a wordKey.

const (
	wordKey    = "waybill_etcd"
	wordReady  = "ready"  // with addr
	wordFailed = "failed" // it can't start, or goes on no longer: with code, reason, and lasting where somebody has to mend it
	wordWaits  = "waits"  // its start waits for what reason says; without one, no longer
	wordError  = "error"  // a line of etcd's log, with reason
	wordFatal  = "fatal"  // the same, and the process ends

	wordStop = "stop\n"
)

const (
	lineMost = 64 << 10 // bytes of a line; a longer one is not heard
	endMost  = 8 << 10  // bytes that are kept of what a process tells of its crash
)

// takeOrders reads the order, and then has the process follow its parent: stop is closed when the parent says so, and where it is gone
// the process ends at once. What etcd had acknowledged is synced.
func takeOrders(in io.Reader) (o etcdOrder, stop <-chan struct{}, err error) {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return o, nil, fault.Wrap(err, fault.Internal, "etcd was told nothing that it understands")
	}
	stopping := make(chan struct{})
	say := sync.OnceFunc(func() { close(stopping) })
	go func() { // for the length of the process
		for {
			text, err := lines.ReadString('\n')
			if err != nil {
				os.Exit(1)
			}
			if text == wordStop {
				say()
			}
		}
	}()
	return o, stopping, nil
}

// etcdWord is a line with a wordKey.
type etcdWord struct {
	Word    string     `json:"waybill_etcd"`
	Addr    string     `json:"addr"`
	Code    fault.Code `json:"code"`
	Reason  string     `json:"reason"`
	Lasting bool       `json:"lasting"`
}

// hearing is an io.Writer for the lines of etcd's process: it hands its words to word and its log to log. One goroutine writes.
type hearing struct {
	word func(etcdWord)
	log  zerolog.Logger
	rest []byte // of a line whose end has not come
	long bool   // that line is too long to be heard
}

func (h *hearing) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			break
		}
		if h.rest = append(h.rest, p[:end]...); !h.long && len(h.rest) <= lineMost {
			h.line(h.rest)
		}
		h.rest, h.long = h.rest[:0], false
		p = p[end+1:]
	}
	if h.rest = append(h.rest, p...); len(h.rest) > lineMost {
		h.rest, h.long = nil, true
	}
	return n, nil
}

func (h *hearing) line(text []byte) {
	var word etcdWord
	fields := make(map[string]any)
	twice := jsontext.AllowDuplicateNames(true) // zerolog does not look for them
	if json.Unmarshal(text, &word, twice) != nil || json.Unmarshal(text, &fields, twice) != nil {
		h.log.Debug().Bytes("text", text).Msg("etcd's process wrote what is no word")
		return
	}
	if word.Word != "" {
		h.word(word)
	}
	said, _ := fields[zerolog.LevelFieldName].(string)
	level, err := zerolog.ParseLevel(said)
	if err != nil || said == "" {
		return
	}
	message, _ := fields[zerolog.MessageFieldName].(string)
	for _, known := range []string{zerolog.LevelFieldName, zerolog.MessageFieldName, wordKey, "reason", "lasting"} {
		delete(fields, known)
	}
	h.log.WithLevel(level).Fields(fields).Msg(message)
}

// lastWords is an io.Writer for the standard error of a process, of which it keeps the last: from where the runtime begins to tell of a
// crash, as soon as it does so, nothing gives way any more. It is safe for concurrent use.
type lastWords struct {
	mu      sync.Mutex
	text    []byte
	crashed bool
}

var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |unexpected fault address |SIG[A-Z]+: |runtime: )`)

func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed {
		w.text = append(w.text, p[:min(len(p), endMost-len(w.text))]...)
		return len(p), nil
	}
	w.text = append(w.text, p...)
	if at := crash.FindIndex(w.text); at != nil {
		w.text, w.crashed = w.text[at[0]:min(len(w.text), at[0]+endMost)], true
	} else if over := len(w.text) - endMost; over > 0 {
		w.text = bytes.Clone(w.text[over:])
	}
	return len(p), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// crash is what the runtime said of a crash, on one line; empty where there was none.
func (w *lastWords) crash() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.crashed {
		return ""
	}
	first, _, _ := strings.Cut(string(w.text), "\n\n")
	return short(first)
}

// short is a text on one line, cut off where it is long.
func short(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
