package bench

import (
	"fmt"
	"math"
	"strings"
)

// A plot's measures, in the units of its SVG.
const (
	plotWidth, plotHeight = 720, 360
	plotLeft, plotRight   = 80, 40
	plotTop, plotBottom   = 16, 48
	mostTicks             = 8
)

type point struct{ x, y float64 }

// line is one series of a plot.
type line struct {
	Name   string
	Path   string // of the SVG
	Dots   []dot
	points []point
}

type dot struct{ X, Y string }

// tick is a mark on an axis, with its place in the SVG.
type tick struct {
	Text string
	At   string
	at   float64
}

type axis struct {
	Title       string
	Ticks       []tick
	least, most float64
}

// plot is lines over two axes. The Y axis is logarithmic, in decades, unless linear is set.
type plot struct {
	Title          string
	XTitle, YTitle string
	X, Y           axis
	Lines          []line

	linear bool
	marks  bool // a dot for each point
}

// The frame's edges, for the template.
func (plot) Width() int  { return plotWidth }
func (plot) Height() int { return plotHeight }
func (plot) Left() int   { return plotLeft }
func (plot) Right() int  { return plotWidth - plotRight }
func (plot) Top() int    { return plotTop }
func (plot) Bottom() int { return plotHeight - plotBottom }

// drawn is the plot with every place worked out.
func (p plot) drawn() plot {
	if p.XTitle != "" {
		p.X.Title = p.XTitle
	}
	low, high := math.Inf(1), 0.0
	for _, l := range p.Lines {
		for _, at := range l.points {
			low, high = min(low, at.y), max(high, at.y)
		}
	}
	if p.linear {
		p.Y = linearAxis(high)
	} else {
		p.Y = decades(low, high)
	}
	p.X.Ticks = placed(p.X.Ticks, p.placeX)
	p.Y.Ticks = placed(p.Y.Ticks, p.placeY)
	for i, l := range p.Lines {
		var path strings.Builder
		for n, at := range l.points {
			y := at.y
			if !p.linear {
				y = math.Log10(y)
			}
			command := 'L'
			if n == 0 {
				command = 'M'
			}
			x, height := p.placeX(at.x), p.placeY(y)
			fmt.Fprintf(&path, "%c%s %s", command, x, height)
			if p.marks {
				p.Lines[i].Dots = append(p.Lines[i].Dots, dot{x, height})
			}
		}
		p.Lines[i].Path = path.String()
	}
	return p
}

func placed(ticks []tick, place func(float64) string) []tick {
	out := make([]tick, len(ticks))
	for i, t := range ticks {
		out[i] = tick{t.Text, place(t.at), t.at}
	}
	return out
}

func (p plot) placeX(x float64) string {
	return coordinate(plotLeft + share(x, p.X)*(plotWidth-plotLeft-plotRight))
}

func (p plot) placeY(y float64) string {
	return coordinate(plotHeight - plotBottom - share(y, p.Y)*(plotHeight-plotTop-plotBottom))
}

func share(v float64, a axis) float64 {
	if a.most <= a.least {
		return 0.5
	}
	return (v - a.least) / (a.most - a.least)
}

func coordinate(v float64) string { return fmt.Sprintf("%.1f", v) }

// decades is a logarithmic axis of latencies in microseconds, from the decade below the least to the one above the most.
func decades(low, high float64) axis {
	a := axis{least: math.Floor(math.Log10(low)), most: math.Ceil(math.Log10(high))}
	if a.most == a.least {
		a.most++
	}
	for d := a.least; d <= a.most; d++ {
		a.Ticks = append(a.Ticks, tick{Text: LatencyText(math.Pow(10, d)), at: d})
		if a.most-a.least <= 3 && d < a.most {
			for _, part := range []float64{2, 5} {
				a.Ticks = append(a.Ticks, tick{Text: LatencyText(part * math.Pow(10, d)), at: d + math.Log10(part)})
			}
		}
	}
	return a
}

// linearAxis goes from 0 to a round number that is not below high.
func linearAxis(high float64) axis {
	step := math.Pow(10, math.Floor(math.Log10(max(high, 1e-9))))
	for _, part := range []float64{0.1, 0.2, 0.5, 1, 2} {
		if high/(part*step) <= mostTicks {
			step *= part
			break
		}
	}
	a := axis{most: math.Ceil(high/step) * step}
	for n := 0.0; n*step <= a.most+step/2; n++ {
		a.Ticks = append(a.Ticks, tick{Text: numberText(n * step), at: n * step})
	}
	return a
}
