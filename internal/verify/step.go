package verify

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/journal"
	"waybill/internal/quick"
)

// step judges one event of a state machine: the state that it carries must be what apply makes of the one before. It returns the
// state to go on from, which after a violation is the one that the journal has, so that one damage is reported once; clean is false
// then, and state nil where that can't be read either. With judge false the event is taken at its word. blame names the rule that
// an impossible event breaks.
func step[S any](c *check, r journal.Record, judge bool, apply func() (S, error), blame func(written *S) string) (state *S, clean bool) {
	if !judge {
		written := written[S](c, r)
		return written, written != nil
	}
	after, impossible := apply()
	if impossible == nil && c.spells(&after, r.State) {
		return &after, true
	}
	switch written := written[S](c, r); {
	case written == nil:
		return nil, false
	case impossible != nil:
		c.at(r, blame(written), "%s", why(impossible))
		return written, false
	case c.alike(&after, written):
		return &after, true
	default:
		c.at(r, RuleState, "the state is not the one before it with the event applied")
		return written, false
	}
}

// written is the state that the event carries; nil where it can't be read.
func written[S any](c *check, r journal.Record) *S {
	state := new(S)
	if err := quick.Unmarshal(r.State, state); err != nil {
		c.at(r, RuleBody, "the state can't be read: %v", err)
		return nil
	}
	return state
}

// spells reports whether text is the value, byte for byte, as this program writes it.
func (c *check) spells(value any, text jsontext.Value) bool {
	c.buffer.Reset()
	err := quick.Write(&c.buffer, value, json.Deterministic(true))
	return err == nil && bytes.Equal(c.buffer.Bytes(), text)
}

// alike reports whether two values are written the same. What another version of the program wrote beside is not in them.
func (c *check) alike(a, b any) bool {
	text, err := json.Marshal(a, json.Deterministic(true))
	return err == nil && c.spells(b, text)
}
