package node

import (
	"strings"
	"sync"
	"time"
)

// phases is how long each part of the start took, for the operator's log. Some run at the same time.
type phases struct {
	began time.Time
	mu    sync.Mutex
	names []string
	took  map[string]time.Duration
}

func newPhases() *phases { return &phases{began: time.Now(), took: make(map[string]time.Duration)} }

// begin begins a phase; what it returns ends it.
func (p *phases) begin(name string) (end func()) {
	start := time.Now()
	return func() { p.note(name, time.Since(start)) }
}

func (p *phases) note(name string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.took[name]; !known {
		p.names = append(p.names, name)
	}
	p.took[name] = took
}

// awaited takes note of what is still missing, each as "name: what", since the wait for it began.
func (p *phases) awaited(missing []string, since time.Time) {
	for _, m := range missing {
		name, _, _ := strings.Cut(m, ":")
		p.note("wait for "+name, time.Since(since))
	}
}

// fields are the phases in milliseconds, for zerolog.
func (p *phases) fields() []any {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []any
	for _, name := range p.names {
		out = append(out, name, p.took[name].Milliseconds())
	}
	return append(out, "total", time.Since(p.began).Milliseconds())
}
