package main

import (
	"strings"
	"testing"
)

// TestWrongUsage: exit 2, one line that says what is wrong, and where help is; without asking any site.
func TestWrongUsage(t *testing.T) {
	for _, tc := range []struct{ args, says string }{
		{"ordr", `did you mean order?`},
		{"order plce", `did you mean place?`},
		{"order frobnicate", `waybill order has no command "frobnicate"`},
		{"order get", "ORDER is missing"},
		{"order get a b", `"b" is one argument too many`},
		{"order list --nonsense", "unknown flag: --nonsense"},
		{"order list --limit x", "invalid argument"},
		{"order list --since yesterday", `"yesterday" is no time`},
		{"order list -o xml", `neither table nor json`},
		{"order list --timeout 0s", "is not positive"},
		{"order list --site Berlin!", `"Berlin!" is no site`},
		{"order place", "--customer"},
		{"order place --customer c", "--line"},
		{"order place --customer c --line a", "--pickup or --ship-to"},
		{"order place --customer c --line a --pickup", "--card TOKEN or --cash"},
		{"order place --customer c --line a=0 --pickup --cash", "a quantity of 1 to"},
		{"order place --customer c --line a --pickup --ship-to x --cash", "exclude each other"},
		{"order place --customer c --line a --pickup --cash --card tok_ok", "exclude each other"},
		{"order place --customer c --line a --ship-to Berlin --cash", "is not an address"},
		{"order place --customer c --line a --pickup --cash --expect 5", "is not an amount"},
		{"order place --file /nowhere/at.all", "no such file"},
		{"catalog put espresso", "--name and --price"},
		{"catalog put espresso --name E --price 2.50", "is not an amount"},
		{"catalog put espresso --name E --price 2.505,EUR", "is not an amount"},
		{"stock receive espresso", "QUANTITY is missing"},
		{"stock receive espresso many", `"many" is not 1 to`},
		{"stock adjust espresso", "--by"},
		{"stock reserve r", "--line"},
		{"stock extend r", "--ttl"},
		{"payment capture p", "--amount"},
		{"payment refund p --amount x", "is not an amount"},
		{"shipment split s", "--line"},
		{"dead show x", "is not a whole number"},
		{"webhook put w", "--url"},
		{"call", "SERVICE.METHOD is missing"},
		{"call order", "is not a method such as order.get"},
		{"call a.b {} {}", "one argument too many"},
		{"serve --nats-addr here", "host:port"},
		{"serve --durability perhaps", "durability"},
		{"serve --config /nowhere/at.all", "/nowhere/at.all"},
		{"demo --durability perhaps", "neither strict nor fast"},
		{"demo extra", "one argument too many"},
	} {
		r := run(t, "", nowhere(t), strings.Fields(tc.args)...)
		if r.code != exitUsage || r.out != "" || !strings.Contains(r.err, tc.says) || !strings.Contains(r.err, "--help`.") ||
			strings.Count(r.err, "\n") != 2 {
			t.Errorf("%s: exit %d, %q%q; want exit 2 and %q", tc.args, r.code, r.out, r.err, tc.says)
		}
	}
}

func TestWrongEnvironment(t *testing.T) {
	for variable, says := range map[string]string{
		"WAYBILL_TIMEOUT=soon": "WAYBILL_TIMEOUT", "WAYBILL_OUTPUT=xml": "neither table nor json", "WAYBILL_SITE=No!": "is no site",
	} {
		r := run(t, "", append(nowhere(t), variable), "order", "list")
		if r.code != exitUsage || !strings.Contains(r.err, says) {
			t.Errorf("%s: exit %d, %q", variable, r.code, r.err)
		}
	}
}

// TestNobodyThere: exit 1, the code, and what to do.
func TestNobodyThere(t *testing.T) {
	for _, args := range [][]string{{"order", "list"}, {"events", "tail"}, {"events", "replay"}, {"verify"}, {"rebuild"}, {"health"},
		{"call", "order.get"}, {"order", "watch", "o-1"}, {"config", "watch"}} {
		r := run(t, "", nowhere(t), args...)
		want := "unavailable: no waybill answers at nats://127.0.0.1:1: start one with `waybill serve`, or name another with --server\n"
		if r.code != exitFailed || r.out != "" || r.err != want {
			t.Errorf("%s: exit %d, %q%q", args, r.code, r.out, r.err)
		}
	}
	r := run(t, "", nowhere(t), "order", "list", "--creds", "/nowhere/at.all")
	if r.code != exitFailed || !strings.HasPrefix(r.err, "invalid_argument: the credentials /nowhere/at.all") {
		t.Errorf("no credentials: exit %d, %q", r.code, r.err)
	}
}
