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
	for _, c := range []struct{ what, looks, counts string }{
		{"bad luck", "..c.cc..", "........"},
		{"failing", ".cccc", "...cc"},
		{"certain", ".C", ".c"},
		{"well again", "C.....", "ccc..."},
		{"not yet well", "C..C..C...", "ccccccccc."},
		{"back and forth", "C...C......", "ccc.cccccc."},
		{"worse, then less bad", "wwwcccwww.....", "..wwwcccwww..."},
	} {
		var d damped
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
