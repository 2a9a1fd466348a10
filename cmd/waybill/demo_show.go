package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"waybill/subjects"
)

// The columns of the demonstration's pages: at most pageWidth in all.
const (
	pageWidth  = 98
	barWidth   = 50
	titleWidth = 44
)

// show prints the report for people.
func (r *demoReport) show(s *sheet) {
	s.box(fmt.Sprintf("Waybill: a coffee shop takes %d orders", len(r.Orders)),
		fmt.Sprintf("one process, %s durability, taking orders %.0f ms after its start", r.Durability, r.StartMS))
	for i, o := range r.Orders {
		s.line("")
		o.show(s, i+1)
	}
	r.showStages(s)
	r.showTotals(s)
	if r.OK {
		s.line("")
		s.line("%s  every order ended as it should, in %.1f s", s.paint(green, "✓"), r.TookMS/1000)
	} else {
		s.line("")
		for _, p := range r.Problems {
			s.line("%s  %s", s.paint(red, "✗"), clean(p))
		}
	}
	s.line("")
	s.line("Now yours:")
	s.line("  waybill serve")
	s.line(`  waybill catalog put espresso --name Espresso --price "2.50 EUR" --tax 19%%`)
	s.line("  waybill stock receive espresso 100")
	s.line("  waybill order place --customer c-1 --line espresso=2 --pickup --cash")
}

// box frames lines.
func (s *sheet) box(lines ...string) {
	edge := strings.Repeat("─", pageWidth-2)
	s.line("╭%s╮", edge)
	for i, l := range lines {
		padded := pad(l, pageWidth-4)
		if i == 0 {
			padded = s.paint(bold, padded)
		}
		s.line("│ %s │", padded)
	}
	s.line("╰%s╯", edge)
}

// pad fills a text with spaces to a width, or cuts it.
func pad(t string, width int) string {
	t = short(t, width)
	return t + strings.Repeat(" ", width-utf8.RuneCountInString(t))
}

func padLeft(t string, width int) string {
	t = short(t, width)
	return strings.Repeat(" ", width-utf8.RuneCountInString(t)) + t
}

// show prints an order's heading and its timeline.
func (o *demoOrder) show(s *sheet, n int) {
	mark := s.paint(green, "✓")
	if o.Problem != "" {
		mark = s.paint(red, "✗")
	}
	ending := string(o.Status)
	if o.Reason != "" && o.Reason != ending {
		ending += " · " + o.Reason
	}
	s.line("%s %2d  %s %s  %s", mark, n, s.paint(bold, pad(o.Title, titleWidth)), padLeft(o.Total.String(), 11), s.status2(string(o.Status), ending))
	s.line("      %s", s.paint(dim, fmt.Sprintf("%s, answered %s after %s", o.OrderID, o.Answer, answerTime(o.AnswerMS))))
	s.timeline(o.Events)
}

// status2 writes a text in the colour of a status.
func (s *sheet) status2(status, t string) string {
	coloured := s.status(status)
	return strings.Replace(coloured, status, t, 1)
}

func answerTime(ms float64) string {
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// timeline draws each event where it stands between the first and the last: the bar is the time that led to it.
func (s *sheet) timeline(events []subjects.HistoryEvent) {
	if len(events) == 0 {
		return
	}
	first, last := events[0].Time, events[len(events)-1].Time
	whole := max(last.Sub(first), time.Millisecond)
	at := func(t subjects.Time) int {
		return min(barWidth, max(0, int(int64(barWidth)*int64(t.Sub(first))/int64(whole))))
	}
	before := first
	for _, e := range events {
		kind, _, _ := subjects.ParseType(e.Type)
		from, to := at(before), at(e.Time)
		bar := "▏"
		if to > from {
			bar = strings.Repeat("█", to-from)
		}
		s.line("      %s  %s  %s%s", s.paint(dim, padLeft(offset(e.Time.Sub(first)), 8)), pad(eventName(e.Type), 26),
			strings.Repeat(" ", min(from, barWidth-1)), s.paint(kindColour(kind), bar))
		before = e.Time
	}
}

func offset(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("+%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("+%.1f s", d.Seconds())
}

func kindColour(k subjects.Kind) string {
	switch k {
	case subjects.KindReservation:
		return yellow
	case subjects.KindPayment, subjects.KindRefund:
		return green
	case subjects.KindShipment:
		return blue
	}
	return cyan
}

func (r *demoReport) showStages(s *sheet) {
	whole := 0.0
	for _, st := range r.Stages {
		whole += st.MS
	}
	s.line("")
	s.line("%s", s.paint(bold, "Where the time goes")+s.paint(dim, fmt.Sprintf("   mean of %d orders, one after the other", samples)))
	for _, st := range r.Stages {
		share := 0
		if whole > 0 {
			share = int(st.MS/whole*float64(barWidth) + 0.5)
		}
		s.line("  %s %s ms  %s", pad(st.Name, 32), padLeft(fmt.Sprintf("%.2f", st.MS), 7), s.paint(cyan, strings.Repeat("█", share)))
	}
	s.line("  %s %s ms", pad("asked and answered", 32), padLeft(fmt.Sprintf("%.2f", whole), 7))
	s.line("  %s %s ms", pad("the same order asked for again", 32), padLeft(fmt.Sprintf("%.2f", float64(r.RepeatUS)/1000), 7))
}

func (r *demoReport) showTotals(s *sheet) {
	t := r.Totals
	agrees := s.paint(green, "agrees to the cent")
	if t.CapturedByCard.Amount != t.LedgerCaptured.Amount || t.RefundedByCard.Amount != t.LedgerRefunded.Amount {
		agrees = s.paint(red, "does not agree")
	}
	violations := s.paint(green, "0 violations")
	if n := len(r.Verify.Violations); n > 0 {
		violations = s.paint(red, fmt.Sprintf("%d violations", n))
	}
	s.line("")
	s.line("%s", s.paint(bold, "The books"))
	s.line("  %s %d orders, %d events", pad("journal", 32), t.Orders, t.Events)
	s.line("  %s %s, of which by card %s", pad("captured", 32), t.Captured, amountOrNone(t.CapturedByCard))
	s.line("  %s %d entries, captured %s: it %s", pad("the gateway's own ledger", 32), t.LedgerEntries, amountOrNone(t.LedgerCaptured), agrees)
	s.line("  %s %s over %d events and %d orders", pad("verify", 32), violations, r.Verify.Events, r.Verify.Orders)
}

func amountOrNone(m subjects.Money) string {
	if m.IsZero() {
		return "nothing"
	}
	return m.String()
}
