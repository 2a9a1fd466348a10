package node_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestPersonalData tells that nothing personal and no token stands on the disk in clear, and that what is erased is gone.
func TestPersonalData(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := open(t, nodetest.WithLog(&log), nodetest.WithConfig(verbose))
	nodetest.Stock(t, s.c, 100, "espresso")
	secrets := []string{"quixote@lamancha.example", "Alonso Quijano", "Calle del Toboso", "Argamasilla", "13710-X", "tok_action_required", "tok_unavailable", "tok_declined", "tok_ok"}
	who := func(r subjects.PlaceRequest, c id.Customer) subjects.PlaceRequest {
		r.CustomerID, r.Email = c, "quixote@lamancha.example"
		r.ShipTo = &subjects.Address{Name: "Alonso Quijano", Line1: "Calle del Toboso", Line2: "3", City: "Argamasilla", Region: "CM", PostalCode: "13710-X", Country: "ES"}
		return r
	}
	s.place(t, who(card("done", "tok_ok", line("espresso", 1)), "c-erased"), "confirmed")
	s.place(t, who(card("acts", "tok_action_required", line("espresso", 1)), "c-erased"), "needs_action")
	s.place(t, who(card("waits", "tok_unavailable", line("espresso", 1)), "c-erased"), "pending")
	s.place(t, who(card("refused", "tok_declined", line("espresso", 1)), "c-erased"), "rejected")
	s.place(t, who(card("other", "tok_ok", line("espresso", 1)), "c-stays"), "confirmed")
	made := call(t, s.c, subjects.WebhookPut, subjects.PutWebhookRequest{WebhookID: "w", URL: "https://example.com/", Events: []string{"*"}})
	secrets = append(secrets, made.Secret)
	shows := func(o id.Order, want bool) {
		t.Helper()
		got := *call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})
		list := call(t, s.c, subjects.OrderList, subjects.ListOrdersRequest{Text: string(o)}).Orders
		if len(list) != 1 || list[0].Email != got.Email || (list[0].ShipTo == nil) != (got.ShipTo == nil) {
			t.Errorf("%s: the list tells %s, get %s", o, text(t, list), text(t, got))
		}
		if (got.Email != "") != want || (got.ShipTo != nil) != want || want && got.ShipTo.Line1 != "Calle del Toboso" {
			t.Errorf("%s: personal data is shown: %v in %s", o, want, text(t, got))
		}
	}
	for _, o := range []id.Order{"done", "acts", "waits", "refused", "other"} {
		shows(o, true)
	}
	hidden := func(when string) {
		t.Helper()
		history := ""
		for _, o := range []id.Order{"done", "acts", "waits", "refused", "other"} {
			history += text(t, call(t, s.c, subjects.OrderHistory, subjects.OrderRequest{OrderID: o}))
		}
		for _, secret := range secrets {
			for _, file := range holding(t, s.Config.Data, secret) {
				t.Errorf("%s %s stands in clear in %s", when, secret, file)
			}
			if log.holds(secret) && secret != "tok_unavailable" { // the sandbox itself says by this name what it plays
				t.Errorf("%s %s stands in the log", when, secret)
			}
			if strings.Contains(history, secret) {
				t.Errorf("%s %s stands in a history", when, secret)
			}
		}
	}
	if !log.holds("state changed") {
		t.Error("the log is empty: what is not in it proves nothing")
	}
	hidden("before the erasure")
	if got := call(t, s.c, subjects.CustomerErase, subjects.EraseRequest{CustomerID: "c-erased"}); !got.Erased {
		t.Error("there was nothing to erase")
	}
	for _, o := range []id.Order{"done", "acts", "waits", "refused"} {
		shows(o, false)
	}
	shows("other", true)
	if got := call(t, s.c, subjects.CustomerErase, subjects.EraseRequest{CustomerID: "c-erased"}); got.Erased {
		t.Error("erased twice")
	}
	// Who orders again is a new customer; what was erased stays so.
	s.place(t, who(card("again", "tok_ok", line("espresso", 1)), "c-erased"), "confirmed")
	shows("again", true)
	shows("done", false)
	// An order whose customer was erased goes its way all the same.
	call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf("acts")})
	s.reaches(t, "acts", "confirmed")
	s.dispatch(t, "acts")
	shows("acts", false)

	s.Stop()
	again := open(t, nodetest.InDir(s.Config.Data), nodetest.WithLog(&log), nodetest.WithConfig(verbose))
	s.c, s.plain = again.c, again.plain
	shows("done", false)
	shows("other", true)
	shows("again", true)
	hidden("after all")
}

// holding names the files below a directory that hold a text.
func holding(t testing.TB, dir, text string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) { // the stores come and go with theirs
			return nil
		}
		if bytes.Contains(content, []byte(text)) {
			out = append(out, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return out
}
