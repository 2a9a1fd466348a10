package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
)

// ReadSeals reads a seal file. No file is no seals; a last line that a crash cut short is left out.
// Errors: internal, naming the line, when one can't be read.
func ReadSeals(file string) ([]Seal, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the seal file can't be read")
	}
	var seals []Seal
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return seals, nil
		}
		var s Seal
		if err := json.Unmarshal(line, &s, json.RejectUnknownMembers(true)); err != nil {
			return nil, fault.Wrap(err, fault.Internal, "line %d of the seal file can't be read", n)
		}
		seals = append(seals, s)
		b = rest
	}
}

// SealCheck compares the events of a journal, given in order from its first, with its seals. One goroutine uses it.
type SealCheck struct {
	seals      []Seal
	at         int // the seal that the next event falls to
	roll       *roll
	last       uint64 // sequence of the last event added
	violations []string
}

// NewSealCheck begins a comparison with seals as ReadSeals gives them.
func NewSealCheck(seals []Seal) *SealCheck {
	c := &SealCheck{seals: seals, roll: newRoll(Seal{})}
	var to uint64
	for _, s := range seals {
		if s.From != to+1 || s.To < s.From {
			c.report("the seals are not whole: after %d comes %d to %d", to, s.From, s.To)
		}
		to = s.To
	}
	return c
}

// Add takes the next event of the journal.
func (c *SealCheck) Add(r Record) {
	if r.Sequence != c.last+1 {
		c.report("the events %d to %d are missing from the journal", c.last+1, r.Sequence-1)
	}
	c.last = r.Sequence
	for c.at < len(c.seals) && c.seals[c.at].To < r.Sequence {
		c.end("")
	}
	if c.at == len(c.seals) {
		return
	}
	c.roll.add(r.Sequence, r.Hash)
	if r.Sequence == c.seals[c.at].To {
		c.end(r.ID)
	}
}

// end compares the seal that is complete. What it says of its range is taken for the next one, so that one change is reported once.
func (c *SealCheck) end(lastID string) {
	s := c.seals[c.at]
	if c.roll.sum() != s.Hash || lastID != s.LastID {
		c.report("the events %d to %d, or their seal, were changed after they were sealed", s.From, s.To)
	}
	c.roll = newRoll(s)
	c.at++
}

func (c *SealCheck) report(format string, args ...any) {
	const enough = 100
	if len(c.violations) < enough {
		c.violations = append(c.violations, fmt.Sprintf(format, args...))
	}
}

// Violations tells, after the last event, what does not agree: a sentence each, at most 100; none when all is well.
func (c *SealCheck) Violations() []string {
	if c.at < len(c.seals) {
		if to := c.seals[len(c.seals)-1].To; c.last < to {
			c.report("the journal ends at event %d and was sealed to event %d", c.last, to)
			c.at = len(c.seals)
		}
	}
	return c.violations
}
