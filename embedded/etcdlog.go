package embedded

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdLog is etcd's logger: it writes warnings and errors as words of etcd's process, and ends the process, with the reason told,
// where etcd calls something fatal (a full disk, damaged data).
type etcdLog struct {
	out      zerolog.Logger
	stopping *atomic.Bool            // what it complains of then is the stop itself
	first    *atomic.Pointer[string] // the first error
	with     []zapcore.Field
}

// usual is what etcd complains of at every start, though it is meant to be so.
var usual = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true, // nobody logs in
	"Failed to detect schema version":                                                      true, // of a new directory; it is written within seconds
	"failed to update storage version":                                                     true,
}

func newEtcdLog(out zerolog.Logger) *etcdLog {
	return &etcdLog{out: out, stopping: new(atomic.Bool), first: new(atomic.Pointer[string])}
}

func (l *etcdLog) zap() *zap.Logger {
	return zap.New(l, zap.WithFatalHook(processEnd{}), zap.WithPanicHook(processEnd{}))
}

// processEnd ends the process after something fatal was written: a panic could be caught by somebody who then goes on.
type processEnd struct{}

// OnWrite implements zapcore.CheckWriteHook.
func (processEnd) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) { os.Exit(1) }

// why is the first error that etcd wrote, on one line.
func (l *etcdLog) why() string {
	if first := l.first.Load(); first != nil {
		return *first
	}
	return "it gave no reason"
}

// Enabled implements zapcore.LevelEnabler.
func (l *etcdLog) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (l *etcdLog) With(f []zapcore.Field) zapcore.Core {
	c := *l
	c.with = append(append([]zapcore.Field(nil), l.with...), f...)
	return &c
}

// Check implements zapcore.Core.
func (l *etcdLog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(e.Level) {
		return ce.AddCore(e, l)
	}
	return ce
}

// Write implements zapcore.Core.
func (l *etcdLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field(nil), l.with...), fields...) {
		f.AddTo(enc)
	}
	level := zerolog.WarnLevel
	switch {
	case l.stopping.Load():
		level = zerolog.DebugLevel
	case e.Level > zapcore.ErrorLevel:
		level = zerolog.ErrorLevel
	case usual[e.Message] || strings.Contains(e.Message, "cannot campaign at term"),
		enc.Fields["error"] == "lease not found": // a former life's, which had run out by itself
		level = zerolog.DebugLevel
	}
	line := l.out.WithLevel(level).Fields(enc.Fields)
	if e.Level >= zapcore.ErrorLevel {
		cause, _ := enc.Fields["error"].(string)
		if p, ok := enc.Fields["panic"]; ok && cause == "" { // what its scheduler has caught
			cause = fmt.Sprint(p)
		}
		reason := short(strings.TrimSuffix(e.Message+": "+cause, ": "))
		l.first.CompareAndSwap(nil, &reason)
		word := wordError
		if e.Level > zapcore.DPanicLevel {
			word = wordFatal
		}
		line = line.Str(wordKey, word).Str("reason", reason)
	}
	line.Msg(e.Message)
	return nil
}

// Sync implements zapcore.Core.
func (l *etcdLog) Sync() error { return nil }
