package node

import (
	"testing"
	"time"

	"waybill/internal/registry"
)

// TestDamped shows a check's looks, one letter each, and what counts after each of them: . passing, w warning, c critical; C is
// critical and certain.
func TestDamped(t *testing.T) {
	status := map[byte]registry.Status{'.': registry.Passing, 'w': registry.Warning, 'c': registry.Critical, 'C': registry.Critical}
	for _, c := range []struct {
		what, looks, counts string
		soon                bool
	}{
		{"bad luck", "..c.cc..", "........", false},
		{"failing", ".cccc", "...cc", false},
		{"certain", ".C", ".c", false},
		{"well again", "C.....", "ccc...", false},
		{"not yet well", "C..C..C...", "ccccccccc.", false},
		{"back and forth", "C...C......", "ccc.cccccc.", false},
		{"worse, then less bad", "wwwcccwww.....", "..wwwcccwww...", false},
		{"soon well again", "C...", "c...", true},
		{"soon, but back and forth", "C.C.C....", "c.cccc...", true},
	} {
		d := damped{soon: c.soon}
		got := ""
		now := time.Now()
		for _, look := range []byte(c.looks) {
			shown := d.see(registry.Check{Name: "x", Status: status[look]}, look == 'C', now)
			now = now.Add(lookInterval)
			for letter, s := range status {
				if s == shown.Status && letter != 'C' {
					got += string(letter)
				}
			}
		}
		if got != c.counts {
			t.Errorf("%s: %s counts as %s, want %s", c.what, c.looks, got, c.counts)
		}
	}
}
