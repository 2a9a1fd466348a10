package node

import (
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/subjects"
)

// levels keeps the log levels live: those of the settings, and the configuration's where they say inherit.
type levels struct {
	live   *configs.Live
	static zerolog.Level
	now    map[subjects.Service]*atomic.Int32
	cancel func()
}

func newLevels(live *configs.Live, static string) *levels {
	l := &levels{live: live, now: make(map[subjects.Service]*atomic.Int32)}
	l.static, _ = zerolog.ParseLevel(static) // the configuration was validated
	for _, s := range append([]subjects.Service{""}, subjects.Services...) {
		l.now[s] = new(atomic.Int32)
	}
	l.apply()
	l.cancel = live.OnChange(func(key string) {
		if strings.HasPrefix(key, configs.LogLevel) {
			l.apply()
		}
	})
	return l
}

func (l *levels) apply() {
	for s, at := range l.now {
		level := l.static
		if text := l.live.LevelOf(s); text != configs.LevelInherit {
			level, _ = zerolog.ParseLevel(text) // the setting was checked
		}
		at.Store(int32(level))
	}
}

// logger is the log of a service, or of the node itself where the service is empty.
func (l *levels) logger(log zerolog.Logger, service subjects.Service) zerolog.Logger {
	if service != "" {
		log = log.With().Str("service", string(service)).Logger()
	}
	return log.Level(zerolog.TraceLevel).Hook(levelHook{l.now[service]})
}

func (l *levels) stop() { l.cancel() }

// levelHook drops what is below the level of the moment.
type levelHook struct{ least *atomic.Int32 }

// Run implements zerolog.Hook.
func (h levelHook) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if level < zerolog.Level(h.least.Load()) {
		e.Discard()
	}
}
