package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// TestDemo: every outcome is as it should be, it is quick, and what it prints fits a terminal.
func TestDemo(t *testing.T) {
	begun := time.Now()
	r := run(t, "", []string{"HOME=" + t.TempDir()}, "demo", "-o", "json")
	if r.code != exitDone {
		t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	var report demoReport
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || len(report.Orders) != len(demoScenes()) || report.Verify.Events == 0 || report.Totals.LedgerCaptured.Amount == 0 {
		t.Errorf("%d orders, verified %+v, the books %+v, problems %q", len(report.Orders), report.Verify, report.Totals, report.Problems)
	}
	var page buffer
	s := &sheet{w: &page}
	report.show(s)
	if s.err != nil {
		t.Fatal(s.err)
	}
	for line := range strings.SplitSeq(page.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 100 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	for _, want := range []string{"completed", "rejected · out_of_stock", "0 violations", "agrees to the cent", "waybill serve"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not said", want)
		}
	}
}

// TestDemoNotices: a deviation is named and fails the demonstration.
func TestDemoNotices(t *testing.T) {
	r := demoReport{Orders: []demoOrder{{OrderID: "a", Title: "A", Problem: "it ended as pending, not confirmed"}}}
	r.Totals.CapturedByCard.Amount = 1
	r.judge()
	if r.OK || len(r.Problems) != 2 || !strings.Contains(r.Problems[0], "it ended as pending") || !strings.Contains(r.Problems[1], "ledger") {
		t.Errorf("got %+v", r.Problems)
	}
}
