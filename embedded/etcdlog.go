package embedded

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdLog is etcd's logger: it hands warnings and errors to the program's log and keeps the reason of a fatal one. Where
// etcd would end the process (a full disk, damaged data), it ends the goroutine that complained.
type etcdLog struct {
	log   zerolog.Logger
	fatal chan struct{} // closed at the first fatal complaint

	stopping *atomic.Bool // what it complains of then is the stop itself

	mu     *sync.Mutex
	reason *string
	with   []zapcore.Field
}

// usual is what etcd complains of at every start, though it is meant to be so.
var usual = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true, // nobody logs in
	"Failed to detect schema version":                                                      true, // of a new directory; it is written within seconds
	"failed to update storage version":                                                     true,
}

func newEtcdLog(log zerolog.Logger) *etcdLog {
	return &etcdLog{log: log, fatal: make(chan struct{}), stopping: new(atomic.Bool), mu: new(sync.Mutex), reason: new(string)}
}

func (l *etcdLog) zap() *zap.Logger {
	return zap.New(l, zap.WithFatalHook(zapcore.WriteThenGoexit), zap.WithPanicHook(zapcore.WriteThenGoexit))
}

// why is the first error that etcd wrote, on one line.
func (l *etcdLog) why() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.reason == "" {
		return "it gave no reason"
	}
	return *l.reason
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
	l.log.WithLevel(level).Fields(enc.Fields).Msg(e.Message)
	if e.Level < zapcore.ErrorLevel {
		return nil
	}
	cause, _ := enc.Fields["error"].(string)
	if p, ok := enc.Fields["panic"]; ok && cause == "" { // what its scheduler has caught
		cause = fmt.Sprint(p)
	}
	reason := strings.Join(strings.Fields(strings.TrimSuffix(e.Message+": "+cause, ": ")), " ")
	if e.Level > zapcore.ErrorLevel {
		l.gaveUp(reason)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.reason == "" {
		*l.reason = reason
	}
	return nil
}

// gaveUp notes that etcd is at its end, and why: the first reason counts.
func (l *etcdLog) gaveUp(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.fatal:
	default:
		*l.reason = reason
		close(l.fatal)
	}
}

// Sync implements zapcore.Core.
func (l *etcdLog) Sync() error { return nil }
