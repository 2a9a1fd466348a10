package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"waybill/internal/fault"
	"waybill/subjects"
)

// printJSON writes a value as one line of JSON, indented on a terminal.
func (p *program) printJSON(v any) error {
	var options []json.Options
	if p.outTerminal {
		options = append(options, jsontext.WithIndent("  "))
	}
	line, err := json.Marshal(v, options...)
	if err == nil {
		_, err = p.out.Write(append(line, '\n'))
	}
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the answer can't be written: %v", err)
	}
	return nil
}

// sheet is what a person reads: tables, and lines of name and value. The first error of writing stays in err.
type sheet struct {
	w      io.Writer
	colour bool
	now    time.Time
	err    error
}

func (p *program) sheet() *sheet { return &sheet{w: p.out, colour: p.colour(), now: time.Now()} }

func (s *sheet) line(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format+"\n", args...)
	}
}

// right marks the heading of a column of numbers, which stands to the right.
const right = ">"

// table writes rows under headings; a heading that begins with right is a column of numbers.
func (s *sheet) table(headings []string, rows [][]string) {
	if len(rows) == 0 {
		s.line("(none)")
		return
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	columns := make([]table.ColumnConfig, len(headings))
	header := make(table.Row, len(headings))
	for i, h := range headings {
		name, number := strings.CutPrefix(h, right)
		header[i] = name
		columns[i] = table.ColumnConfig{Number: i + 1}
		if number {
			columns[i].Align, columns[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	t.SetColumnConfigs(columns)
	t.AppendHeader(header)
	for _, r := range rows {
		row := make(table.Row, len(r))
		for i, cell := range r {
			row[i] = clean(cell)
		}
		t.AppendRow(row)
	}
	s.line("%s", t.Render())
}

// facts writes names and values, one pair a line; a pair without a value is left out.
func (s *sheet) facts(pairs ...string) {
	width := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			s.line("%-*s  %s", width, pairs[i], clean(pairs[i+1]))
		}
	}
}

// more says how to get the next page, where there is one.
func (s *sheet) more(cursor string) {
	if cursor != "" {
		s.line("There is more: go on with --cursor %s", cursor)
	}
}

// when is a time as a person at this machine reads it: the clock for today, the date before it for other days.
func (s *sheet) when(t subjects.Time) string {
	if t.IsZero() {
		return ""
	}
	local, now := t.Std().Local(), s.now.Local()
	if y, m, d := local.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return local.Format("15:04:05")
	}
	return local.Format("2006-01-02 15:04")
}

// status colours a status by what it means.
func (s *sheet) status(status string) string {
	switch status {
	case "completed", "confirmed", "captured", "delivered", "passing", "authorized", "consumed", "approved":
		return s.paint(green, status)
	case "rejected", "failed", "critical", "expired", "cancelled", "dead", "declined", "delivery_failed", "refused":
		return s.paint(red, status)
	case "pending", "needs_action", "cancelling", "warning", "unknown", "requires_action":
		return s.paint(yellow, status)
	}
	return status
}

// The colours, as ANSI writes them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	cyan   = "36"
)

func (s *sheet) paint(code, t string) string {
	if !s.colour || t == "" {
		return t
	}
	return "\x1b[" + code + "m" + t + "\x1b[0m"
}

// clean takes away what would move a terminal's cursor: texts come from customers. Colours, which this program adds itself,
// stay.
func clean(t string) string {
	if !strings.ContainsFunc(t, control) {
		return t
	}
	var b strings.Builder
	for rest := t; rest != ""; {
		if n := colourCode(rest); n > 0 {
			b.WriteString(rest[:n])
			rest = rest[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(rest)
		if control(r) {
			b.WriteByte(' ')
		} else {
			b.WriteString(rest[:size])
		}
		rest = rest[size:]
	}
	return b.String()
}

func control(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }

// colourCode is the length of the colour that t begins with, as paint writes it; 0 for none.
func colourCode(t string) int {
	for _, code := range []string{"0", bold, dim, red, green, yellow, blue, cyan} {
		if c := "\x1b[" + code + "m"; strings.HasPrefix(t, c) {
			return len(c)
		}
	}
	return 0
}
