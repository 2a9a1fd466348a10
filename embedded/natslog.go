package embedded

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// natsLog is the embedded server's logger: it hands warnings and errors to the program's log, and keeps what the server
// tells nobody else. The server reports a failed start with Fatalf alone, and a store that it can no longer write with
// Errorf alone. It never ends the process.
type natsLog struct {
	log     zerolog.Logger
	clients zerolog.Logger // what clients do wrong; sampled, so that nobody can fill the disk with it

	mu       sync.Mutex
	reason   string   // of the first Fatalf
	trouble  []string // the first warnings and errors since the start, while keep is true
	keep     bool
	writeErr string // the store's first write error
}

const maxTrouble = 8

func newNATSLog(log zerolog.Logger) *natsLog {
	return &natsLog{log: log, clients: log.Sample(&zerolog.BurstSampler{Burst: 20, Period: time.Minute}), keep: true}
}

func (l *natsLog) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }
func (l *natsLog) Debugf(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }
func (l *natsLog) Tracef(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }

func (l *natsLog) Warnf(format string, v ...any) {
	s := fmt.Sprintf(format, v...)
	l.log.Warn().Msg(s)
	l.remember(s)
}

func (l *natsLog) Errorf(format string, v ...any) {
	s := fmt.Sprintf(format, v...)
	if strings.Contains(s, "Violation - ") || strings.Contains(s, "authentication error") {
		l.clients.Warn().Msg(s)
		return
	}
	l.log.WithLevel(l.level()).Msg(s)
	l.remember(s)
}

// level is that of an error: during the start it becomes the start's own error, and is not said twice.
func (l *natsLog) level() zerolog.Level {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep {
		return zerolog.DebugLevel
	}
	return zerolog.ErrorLevel
}

func (l *natsLog) Fatalf(format string, v ...any) {
	s := fmt.Sprintf(format, v...)
	l.log.WithLevel(l.level()).Msg(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason == "" {
		l.reason = s
	}
}

// failed reports whether the server has reported what it calls fatal.
func (l *natsLog) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason != ""
}

func (l *natsLog) remember(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep && len(l.trouble) < maxTrouble {
		l.trouble = append(l.trouble, strings.TrimSpace(s))
	}
	if l.writeErr == "" && (strings.Contains(s, "Critical write error") || strings.Contains(s, "failed to store a msg")) {
		l.writeErr = s
	}
}

// started ends the keeping of ordinary trouble and returns what came up during the start.
func (l *natsLog) started() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.trouble
	l.keep, l.trouble = false, nil
	return t
}

// why is the reason of the first Fatalf, or else what the start complained about, on one line.
func (l *natsLog) why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.reason
	if s == "" {
		s = strings.Join(l.trouble, "; ")
	}
	return strings.Join(strings.Fields(s), " ")
}

func (l *natsLog) lostWrites() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeErr
}
