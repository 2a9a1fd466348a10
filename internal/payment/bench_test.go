package payment

import "testing"

// BenchmarkDecideApply takes a payment from ∅ to captured.
func BenchmarkDecideApply(b *testing.B) {
	now := at("10:00:01")
	commands := []Command{createCommand(), Process{At: now}, Authorize{At: now}, CaptureIntent{CaptureID: "cap", Amount: eur(1000), At: now},
		Capture{CaptureID: "cap", Amount: eur(1000), At: now}}
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
