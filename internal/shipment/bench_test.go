package shipment

import "testing"

// BenchmarkDecideApply takes a shipment from ∅ to delivered.
func BenchmarkDecideApply(b *testing.B) {
	commands := []Command{planCommand(), Book{Carrier: "Pigeon", Tracking: "P-17"}, Dispatch{}, Deliver{}}
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
