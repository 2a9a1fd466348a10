// Package scope carries through a context what a request has touched so far: the highest journal sequence that its reply
// will rest on, and who caused it. The journal notes what it reads and appends, the rpc layer notes what inner calls
// answered, and the outermost call waits once for all of it. A Scope is safe for concurrent use.
package scope

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"
)

// Scope belongs to one request or one consumed event.
type Scope struct {
	// Cause is the id of the request or event at work; it becomes Waybill-Causation of the events that follow from it.
	Cause string
	// Traceparent is the W3C trace context that came with it; empty where none did. Both are read by Origin.
	Traceparent string
	// Within says that the work was asked for within the process that holds the store, past the server: who asked, and all that it
	// writes, ends with this life of the store.
	Within bool
	// Inner says that a service asked for the work as a part of its own, and waits for durability itself.
	Inner bool

	newID   func() string // of a scope that makes what is missing of the two, once somebody asks for them
	made    sync.Once
	highest atomic.Uint64
	outside atomic.Int64 // ns
}

// New is the scope of work that nobody asked for in a trace of theirs: it begins one.
func New(cause string) *Scope {
	return &Scope{Cause: cause, Traceparent: NewTraceparent()}
}

// NewTraceparent begins a trace: version 00, a random trace and parent, not sampled (W3C Trace Context, section 3.2).
func NewTraceparent() string {
	var b [24]byte
	rand.Read(b[:])
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-00"
}

type key struct{}

// With returns a context that carries s.
func With(ctx context.Context, s *Scope) context.Context { return context.WithValue(ctx, key{}, s) }

// Carrier is a context and the Scope that it carries, as a part of what its maker allocates.
type Carrier struct {
	context.Context
	s Scope
}

// Begin gives the carrier its parent and a new Scope. A cause that is empty is made by newID when Origin is asked for it, and so is
// a traceparent. It is called once.
func (c *Carrier) Begin(ctx context.Context, cause, traceparent string, newID func() string) *Scope {
	c.Context, c.s.Cause, c.s.Traceparent, c.s.newID = ctx, cause, traceparent, newID
	return &c.s
}

// Value implements context.Context.
func (c *Carrier) Value(k any) any {
	if k == (key{}) {
		return &c.s
	}
	return c.Context.Value(k)
}

// Origin is the Cause and the Traceparent. Many a request touches nothing that would name them.
func (s *Scope) Origin() (cause, traceparent string) {
	if s.newID != nil {
		s.made.Do(s.complete)
	}
	return s.Cause, s.Traceparent
}

func (s *Scope) complete() {
	if s.Cause == "" {
		s.Cause = s.newID()
	}
	if s.Traceparent == "" {
		s.Traceparent = NewTraceparent()
	}
}

// From returns the context's scope, or nil.
func From(ctx context.Context) *Scope {
	s, _ := ctx.Value(key{}).(*Scope)
	return s
}

// Note records that the work in ctx rests on the given journal sequence. Without a scope it does nothing.
func Note(ctx context.Context, sequence uint64) {
	if s := From(ctx); s != nil {
		s.Note(sequence)
	}
}

// Note is the method form of the function.
func (s *Scope) Note(sequence uint64) {
	for {
		h := s.highest.Load()
		if sequence <= h || s.highest.CompareAndSwap(h, sequence) {
			return
		}
	}
}

// Highest is the highest sequence noted so far; 0 for none or for a nil Scope.
func (s *Scope) Highest() uint64 {
	if s == nil {
		return 0
	}
	return s.highest.Load()
}

// WaitedOutside records that the work in ctx has waited so long for somebody outside the site, such as a payment gateway. Without a scope
// it does nothing.
func WaitedOutside(ctx context.Context, d time.Duration) {
	if s := From(ctx); s != nil {
		s.outside.Add(int64(max(d, 0)))
	}
}

// Outside is how long the work has waited for others than the site, here and in the services that it called.
func (s *Scope) Outside() time.Duration { return time.Duration(s.outside.Load()) }
