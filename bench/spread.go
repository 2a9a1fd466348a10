package bench

import "slices"

// Spread is the median of a figure over the rounds of a run, with the lowest and the highest.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// SpreadOf is the spread of the figures, of which there must be at least one.
func SpreadOf(figures []float64) Spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Low: sorted[0], High: sorted[n-1]}
}

// Figures are what one side of a comparison came to, over the rounds. Latencies are in microseconds.
type Figures struct {
	Rate Spread `json:"per_second"`
	P50  Spread `json:"p50_us"`
	P99  Spread `json:"p99_us"`
}

// FiguresOf sums up the rounds, of which there must be at least one.
func FiguresOf(rounds []Result) Figures {
	each := func(figure func(Result) float64) Spread {
		var all []float64
		for _, r := range rounds {
			all = append(all, figure(r))
		}
		return SpreadOf(all)
	}
	return Figures{
		Rate: each(Result.Rate),
		P50:  each(func(r Result) float64 { return float64(r.Percentile(0.5).Nanoseconds()) / 1e3 }),
		P99:  each(func(r Result) float64 { return float64(r.Percentile(0.99).Nanoseconds()) / 1e3 }),
	}
}

// RatioOf is how many times the rate of b the rate of a is, round by round.
func RatioOf(a, b []Result) Spread {
	var all []float64
	for i := range a {
		all = append(all, a[i].Rate()/b[i].Rate())
	}
	return SpreadOf(all)
}
