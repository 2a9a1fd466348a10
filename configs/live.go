package configs

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/subjects"
)

// Live holds the current value of every setting. Reading takes no lock and never waits, so it may stand on the way of
// every request; a reader sees a value whole, old or new. It is safe for concurrent use.
//
// The readers (Duration, Int, String, Bool) answer the zero value for a key that is not declared or is of another type.
type Live struct {
	values map[string]*atomic.Pointer[value] // never changed after NewLive

	setting sync.Mutex // held while a value changes and its listeners run: they hear of changes one at a time and in order
	hooks   sync.Mutex // guards listeners
	// listeners is replaced, never changed in place: it is walked without the lock.
	listeners []*func(key string)
}

// NewLive returns a Live in which every setting has its default.
func NewLive() *Live {
	l := &Live{values: make(map[string]*atomic.Pointer[value], len(settings))}
	for _, s := range settings {
		p := new(atomic.Pointer[value])
		if v, err := s.parse([]byte(s.Default)); err == nil { // a test keeps every default a good value
			p.Store(v)
		} else {
			p.Store(&value{raw: jsontext.Value("null")})
		}
		l.values[s.Key] = p
	}
	return l
}

func (l *Live) get(key string) *value {
	if p, ok := l.values[key]; ok {
		return p.Load()
	}
	return &value{}
}

// Duration is the current value of a setting of TypeDuration.
func (l *Live) Duration(key string) time.Duration { return l.get(key).duration }

// Int is the current value of a setting of TypeInteger.
func (l *Live) Int(key string) int64 { return l.get(key).integer }

// String is the current value of a setting of TypeString, TypeChoice, TypeSecret (its name, not the secret) or, as it was
// written, TypeDuration.
func (l *Live) String(key string) string { return l.get(key).text }

// Bool is the current value of a setting of TypeBoolean.
func (l *Live) Bool(key string) bool { return l.get(key).boolean }

// Raw is the current value of any setting as JSON; nil for a key that is not declared. It must not be changed.
func (l *Live) Raw(key string) jsontext.Value { return l.get(key).raw }

// LevelOf is the log level that holds for a service: its own, else that of log.level, which may be LevelInherit.
func (l *Live) LevelOf(service subjects.Service) string {
	if level := l.String(LogLevelOf(service)); level != "" && level != LevelInherit {
		return level
	}
	return l.String(LogLevel)
}

// MaxInFlight is the bound on a service's requests in flight: its own, else that of rpc.max_in_flight.
func (l *Live) MaxInFlight(service subjects.Service) int {
	if own := l.Int(MaxInFlightOf(service)); own > 0 {
		return int(own)
	}
	return int(l.Int(RPCMaxInFlight))
}

// Retry is how a durable consumer tries again: the times to wait before the second, third, … try, the last one for all
// further ones, and after how many tries it gives up.
func (l *Live) Retry(durable subjects.Durable) (backoff []time.Duration, maxTries int) {
	keys := RetryOf(durable)
	wait, longest := l.Duration(keys.Interval), l.Duration(keys.Longest)
	backoff = append(backoff, wait)
	for wait > 0 && wait < longest {
		wait = min(2*wait, longest)
		backoff = append(backoff, wait)
	}
	return backoff, int(l.Int(keys.MaxTries))
}

// Secret reads the secret that a setting of TypeSecret names, from where it stands; none where it names none. The error says
// which setting is at fault and nothing of what was found there. Error: failed_precondition.
func (l *Live) Secret(key string) (Secret, error) { return readSecret(key, l.String(key)) }

// Set changes a setting in this process alone. The listeners have run when it returns, unless the value was the same.
// Error: not_found for a key that is not declared; invalid_argument with field "value" for a bad value, and the old one stays.
func (l *Live) Set(key string, raw []byte) error {
	s, ok := Lookup(key)
	if !ok {
		return UnknownSetting(key)
	}
	v, err := s.parse(raw)
	if err != nil {
		return err
	}
	l.store(key, v)
	return nil
}

// Reset gives a setting its default back. Error: not_found for a key that is not declared.
func (l *Live) Reset(key string) error {
	s, ok := Lookup(key)
	if !ok {
		return UnknownSetting(key)
	}
	return l.Set(key, []byte(s.Default))
}

func (l *Live) store(key string, v *value) {
	l.setting.Lock()
	defer l.setting.Unlock()
	if old := l.values[key].Swap(v); bytes.Equal(old.raw, v.raw) {
		return
	}
	l.hooks.Lock()
	listeners := l.listeners
	l.hooks.Unlock()
	for _, f := range listeners {
		(*f)(key)
	}
}

// OnChange calls f with the key of every setting that changes from now on, after it has changed. The calls come one at a
// time and in order, in the goroutine that made the change: f must return soon, and must not set a setting itself.
// After cancel no new call begins; one may still be running.
func (l *Live) OnChange(f func(key string)) (cancel func()) {
	entry := &f
	l.hooks.Lock()
	defer l.hooks.Unlock()
	l.listeners = append(slices.Clone(l.listeners), entry)
	return func() {
		l.hooks.Lock()
		defer l.hooks.Unlock()
		l.listeners = slices.DeleteFunc(slices.Clone(l.listeners), func(e *func(string)) bool { return e == entry })
	}
}

// UnknownSetting is the not_found for a key that no Setting declares.
func UnknownSetting(key string) error {
	return fault.New(fault.NotFound, "there is no setting %.60q; `waybill config list` shows them all", key).WithField("key")
}
