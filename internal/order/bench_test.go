package order

import "testing"

// BenchmarkDecideApply takes an order from ∅ to confirmed.
func BenchmarkDecideApply(b *testing.B) {
	commands := []Command{placeCommand(), Confirm{At: at("10:00:01")}}
	b.ReportAllocs()
	for b.Loop() {
		var s State
		for _, c := range commands {
			e, err := Decide(s, c)
			if err == nil {
				s, err = Apply(s, e)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
