package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"waybill/internal/nodetest"
)

// step is one command of a story: what it is given, and what it must leave. Patterns are regular expressions; an empty one
// wants nothing at all.
type step struct {
	args  string // split at spaces; %20 is a space within an argument
	stdin string
	code  int
	out   string
	err   string
}

func (s step) run(t *testing.T, environ []string) {
	t.Helper()
	args := strings.Fields(s.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%20", " ")
	}
	r := run(t, s.stdin, environ, args...)
	if r.code != s.code || !matches(s.out, r.out) || !matches(s.err, r.err) {
		t.Errorf("waybill %s: exit %d\nout: %s\nerr: %s\nwant exit %d, out %s, err %s", s.args, r.code, r.out, r.err, s.code, s.out, s.err)
	}
}

func matches(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	return regexp.MustCompile("(?s)" + pattern).MatchString(text)
}

// TestStory is a day of a shop at the command line, against a real node.
func TestStory(t *testing.T) {
	n := nodetest.Start(t)
	environ := []string{"WAYBILL_SERVER=" + n.URL(), "HOME=" + t.TempDir()}
	menu := filepath.Join(t.TempDir(), "menu.csv")
	if err := os.WriteFile(menu, []byte("sku,name,unit_price,tax_rate\nbun,Bun,1.00 EUR,7%\nmug,Mug,12.00 EUR,19%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []step{
		{args: "catalog put espresso --name Espresso --price 2.50%20EUR --tax 19%",
			out: `^\{"sku":"espresso","name":"Espresso","unit_price":\{"amount":250,"currency":"EUR"\},"tax_rate_bp":1900,"active":true\}\n$`},
		{args: "catalog import " + menu, out: `^\{"put":2,"failed":\[\]\}\n$`},
		{args: "catalog import -", stdin: "sku,name,unit_price\nx,X,one\n", code: 2, err: `^waybill: -: line 2: "one"`},
		{args: "catalog get bun -o table", out: `price\s+1\.00 EUR\ntax\s+7%\nsold\s+yes\n$`},
		{args: "catalog list -o table", out: `│ SKU +│ name +│ +price │ +tax │ sold │.*│ bun +│ Bun +│ +1\.00 EUR │ +7% │ yes  │.*espresso.*mug`},
		{args: "catalog list --limit 1", out: `"items":\[\{"sku":"bun".*"next_cursor":"[^"]+"`},
		{args: "catalog get nothing", code: 1, err: `^not_found: [^\n]*nothing[^\n]*\n$`},
		{args: "stock receive espresso 100 --reference d-1", out: `"on_hand":100,"reserved":0,"available":100`},
		{args: "stock receive espresso 100 --reference d-1", out: `"on_hand":100,`},
		{args: "stock receive espresso 99 --reference d-1", code: 1, err: `^already_exists: `},
		{args: "stock receive bun 10", out: `"on_hand":10,`},
		{args: "stock adjust bun --by -3 --reference broken", out: `"on_hand":7,`},
		{args: "stock adjust bun --by -30", code: 1, err: `^failed_precondition: `},
		{args: "stock list -o table", out: `on hand │ reserved │ available.*espresso │ +100 │ +0 │ +100`},
		{args: "stock get bun -o table", out: `available\s+7\n`},
		{args: "stock reserve table-4 --line bun=2 --ttl 15m", out: `"status":"held".*"expires_at":"`},
		{args: "stock extend table-4 --ttl 20m -o table", out: `status\s+held`},
		{args: "stock commit table-4", out: `"status":"committed"`},
		{args: "stock release table-4", out: `"status":"released"`},

		{args: "order place --id o-1 --customer c-1 --line espresso=2 --line bun --pickup --cash --email ada@example.com --expect 7.02%20EUR",
			out: `^\{"order_id":"o-1","site":"local","status":"confirmed","customer_id":"c-1".*"total":\{"amount":702,"currency":"EUR"\}`},
		{args: "order place --id o-1 --customer c-1 --line espresso=2 --line bun --pickup --cash --email ada@example.com --expect 7.02%20EUR",
			out: `"order_id":"o-1".*"status":"confirmed"`},
		{args: "order place --id o-1 --customer c-2 --line espresso=2 --pickup --cash", code: 1, err: `^already_exists: `},
		{args: "order place --customer c-1 --line espresso=1 --pickup --cash --expect 1.00%20EUR", code: 1, err: `^failed_precondition: `},
		{args: "order place --customer c-1 --line espresso=1 --pickup --card 4242424242424242", code: 1, err: `^invalid_argument: .*card number`},
		{args: "order place --id o-2 --customer c-2 --line espresso=1 --card tok_declined --ship-to Ada,12%20Main%20Street,Berlin,10115,DE -o table",
			out: `order\s+o-2\nstatus\s+rejected\nreason\s+payment_declined: .*ship to\s+Ada, 12 Main Street, 10115 Berlin, DE.*│ total +│.*2\.98 EUR │`},
		{args: "order place -f - --id o-3", stdin: `{"customer_id":"c-3","lines":[{"sku":"espresso","quantity":2}],"fulfilment":"ship",` +
			`"ship_to":{"name":"A","line1":"B","city":"C","postal_code":"D","country":"DE"},"payment":{"method":"card","token":"tok_ok"}}`,
			out: `"order_id":"o-3".*"status":"confirmed"`},
		{args: "order place -f -", stdin: `{"customer":"c-3"}`, code: 2, err: `is not an order as order\.place takes it`},
		{args: "order get o-1 -o table", out: `customer\s+c-1\nemail\s+ada@example\.com\n.*payment\s+cash, captured, captured 7\.02 EUR`},
		{args: "order get nobody", code: 1, err: `^not_found: `},
		{args: "order history o-3 -o table", out: `│ sequence │.*order placed.*reservation held.*payment authorized.*order confirmed`},
		{args: "order history o-3", out: `^\{"events":\[\{"sequence":\d+,"time":"[^"]+","type":"waybill\.order\.placed\.v1"`},
		{args: "order cancel o-1 --reason late", out: `"status":"cancelled"`},
		{args: "order watch o-1", out: `^\{"order_id":"o-1"[^\n]*"status":"cancelled"[^\n]*\n$`},
		{args: "order watch o-2 -o table", out: `rejected.*payment_declined`},
		{args: "order list --status rejected", out: `^\{"orders":\[\{"order_id":"o-2"[^\]]*\}\],"tax|"orders":\[\{"order_id":"o-2"`},
		{args: "order list --status sideways", code: 1, err: `^invalid_argument: .*status`},
		{args: "order list --since 1h -o table", out: `order.*placed.*status.*o-3.*o-2.*o-1`},
		{args: "order list --until 1h -o table", out: `^\(none\)\n$`},

		{args: "payment get o-3-pay", out: `"status":"authorized"`},
		{args: "payment refund o-3-pay --amount 1.00%20EUR --id r-1", code: 1, err: `^failed_precondition: `},
		{args: "payment ledger -o table", out: `│ operation │.*authorize.*o-3-pay.*approved`},
		{args: "call shipping.list", out: `^\{"shipments":\[`},
		{args: "call order.get {\"order_id\":\"o-3\"}", out: `"order_id":"o-3"`},
		{args: "call order.get -", stdin: `{"order_id":"o-3"}`, out: `"order_id":"o-3"`},
		{args: "call order.get {\"order\":1}", code: 1, err: `^invalid_argument: `},
		{args: "call order.nonsense", code: 1, err: `^unavailable: nobody serves `},

		{args: "config get payment.capture -o table", out: `value\s+on_dispatch\n`},
		{args: "config set order.pending_timeout 20m", out: `"value":"20m"`},
		{args: "config set rpc.max_in_flight 512", out: `"value":512`},
		{args: "config set rpc.max_in_flight none", code: 1, err: `^invalid_argument: `},
		{args: "config set no.such.key 1", code: 1, err: `^not_found: `},
		{args: "config list -o table", out: `│ key .*order\.pending_timeout +│ 20m +│ 15m +│ 1s to 30d +│ \S+@\S+ +│ \d\d:`},
		{args: "config history order.pending_timeout", out: `^\{"revisions":\[\{"value":"20m"`},
		{args: "config get order.pending_timeout -o table", out: `takes\s+1s to 30d\nset by\s+\S+@\S+\n.*revision\s+\d+\n`},
		{args: "config set order.pending_timeout 30m --if-revision 1", code: 1, err: `^failed_precondition: .* it stands at revision \d+`},
		{args: "config rollback order.pending_timeout", out: `"value":"15m"`},
		{args: "config rollback order.pending_timeout", out: `"value":"20m"`},
		{args: "config rollback order.pending_timeout 1", code: 1, err: `^not_found: etcd keeps no revision 1 `},
		{args: "config rollback order.pending_timeout one", code: 2, err: `is no revision`},
		{args: "config rollback", code: 2, err: `KEY is missing`},
		{args: "config set payment.gateway_key test_clear", code: 1, err: `^invalid_argument: .*never the secret itself`},
		{args: "config set payment.gateway_key env:WAYBILL_SECRET_NOT_THERE", code: 1, err: `^failed_precondition: .*finds no secret`},
		{args: "config watch no.such.key", code: 1, err: `^not_found: `},
		{args: "health -o table", out: `^etcd +passing\nJetStream +\d+ events.*notify .*leader of inventory .*│ service .*order.*passing`},
		{args: "services -o table", out: `│ service .*order .* both .* passing`},
		{args: "dead list", out: `^\{"letters":\[\],"next_cursor":""\}\n$`},
		{args: "dead show 1", code: 1, err: `^not_found: `},
		{args: "webhook put shop --url https://shop.example.com/hooks --event order.confirmed -o table", out: `secret\s+\S{16,}\nKeep the secret`},
		{args: "webhook get shop -o table", out: `webhook\s+shop\nurl\s+https://shop\.example\.com/hooks\nevents\s+order\.confirmed\n`},
		{args: "webhook put own --url https://shop.example.com/hooks --event * --secret-file -", stdin: "0123456789abcdef\n", out: `"webhook_id":"own"`},
		{args: "webhook put shop --url https://shop.example.com/hooks --event order.nonsense", code: 1, err: `^invalid_argument: `},
		{args: "webhook delete shop -o table", out: `^shop is removed\n$`},
		{args: "webhook get shop", code: 1, err: `^not_found: `},
		{args: "customer erase c-1", out: `^\{"customer_id":"c-1","erased":true\}\n$`},
		{args: "order get o-1 -o table", out: `customer\s+c-1\nfulfilment`},
		{args: "events replay --filter order.placed", out: `^(\{"sequence":\d+,[^\n]*"name":"placed"[^\n]*\}\n){3}$`},
		{args: "events replay --filter order.* --from 100000"},
		{args: "events replay --filter order.placed -o table", out: `order placed +o-1 .*order placed +o-2 .*order placed +o-3 `},
		{args: "events replay --filter nonsense", code: 1, err: `^invalid_argument: the filter`},
		{args: "rebuild", out: `^\{"sequence":\d+,"target":\d+\}\n$`},
		{args: "order list --site elsewhere --timeout 3s", code: 1, err: `^unavailable: nobody serves `},
		{args: "verify", out: `^\{"events":\d+,"orders":3,"last":\d+,"violations":\[\]\}\n$`},
		{args: "verify -o table", out: `3 orders: 0 violations\n$`},
	} {
		s.run(t, environ)
	}
	shipments(t, environ)
	watchedSettings(t, environ)
}

// watchedSettings has one command watch while others set.
func watchedSettings(t *testing.T, environ []string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs buffer
	ended := make(chan int, 1)
	go func() {
		ended <- newProgram(strings.NewReader(""), &out, &errs, environ).run(ctx, []string{"config", "watch", "shipping.auto", "-o", "table"})
	}()
	shown := func(want string) bool { return matches(want, out.String()) }
	for end := time.Now().Add(20 * time.Second); !shown(`shipping\.auto = book  \(\S+@\S+\)\n`); { // the watch does not say when it begins
		step{args: "config set shipping.auto book", out: `"value":"book"`}.run(t, environ)
		step{args: "config set rpc.max_in_flight 511", out: `"value":511`}.run(t, environ) // another setting is none of its business
		if time.Now().After(end) {
			t.Fatalf("the watch shows %q%q", out.String(), errs.String())
		}
	}
	step{args: "config set shipping.auto off", out: `"value":"off"`}.run(t, environ)
	for end := time.Now().Add(20 * time.Second); !shown(`shipping\.auto = off `); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the watch shows %q%q", out.String(), errs.String())
		}
	}
	cancel()
	if code := <-ended; code != exitDone || errs.String() != "" || shown(`rpc`) {
		t.Errorf("the watch: exit %d, %q%q", code, out.String(), errs.String())
	}
}

// shipments goes on with o-3, which is to be shipped. Its shipment is planned beside the order: the watch of the order, which
// ends with it, runs at the same time.
func shipments(t *testing.T, environ []string) {
	watched := make(chan result, 1)
	go func() { watched <- run(t, "", environ, "order", "watch", "o-3", "-o", "table") }()
	for _, s := range []step{
		{args: "shipment split o-3-s1 --line espresso=1", out: `"shipment_id":"o-3-s1".*"lines":\[\{"sku":"espresso","quantity":1\}\]`},
		{args: "shipment list --order o-3 -o table", out: `o-3-s2 +│ pending.*o-3-s1 +│ pending`},
		{args: "shipment deliver o-3-s1", code: 1, err: `^failed_precondition: `},
		{args: "shipment book o-3-s1 --carrier dhl --tracking 42", out: `"status":"booked".*"carrier":"dhl","tracking":"42"`},
		{args: "shipment dispatch o-3-s1", out: `"status":"dispatched"`},
		{args: "shipment fail o-3-s1 --reason nobody", out: `"status":"delivery_failed"`},
		{args: "shipment dispatch o-3-s1", out: `"status":"dispatched"`},
		{args: "shipment deliver o-3-s1 -o table", out: `status\s+delivered`},
		{args: "order cancel o-3", code: 1, err: `^failed_precondition: `},
		{args: "shipment book o-3-s2", out: `"status":"booked"`},
		{args: "shipment dispatch o-3-s2", out: `"status":"dispatched"`},
		{args: "shipment deliver o-3-s2", out: `"status":"delivered"`},
		{args: "shipment get o-3-s2", out: `"status":"delivered"`},
	} {
		s.run(t, environ)
	}
	if r := <-watched; r.code != exitDone || !matches(`confirmed.*fulfilling.*completed[^\n]*\n$`, r.out) {
		t.Errorf("the watch: exit %d, %s%s", r.code, r.out, r.err)
	}
	step{args: "payment refund o-3-pay --amount 1.00%20EUR --id r-1", out: `"refunded":\{"amount":100,`}.run(t, environ)
}
