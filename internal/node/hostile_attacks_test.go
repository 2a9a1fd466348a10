package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/subjects"
)

// sound is a request to each method that is well formed and names every field that the method knows. The hostile ones are
// made from it. Each would be refused, or answered without a trace, as it stands: nothing that it names is there.
var sound = map[string]string{
	"catalog.put":  `{"sku":"x","name":"X","unit_price":{"amount":1,"currency":"EUR"},"tax_rate_bp":1,"active":true}`,
	"catalog.get":  `{"sku":"x"}`,
	"catalog.list": `{"limit":1,"cursor":""}`,

	"inventory.receive": `{"sku":"x","quantity":1,"reference":"r"}`,
	"inventory.adjust":  `{"sku":"x","quantity":1,"reference":"r"}`,
	"inventory.get":     `{"sku":"x"}`,
	"inventory.list":    `{"limit":1,"cursor":""}`,
	"inventory.reserve": `{"reservation_id":"x","lines":[{"sku":"x","quantity":1}],"ttl":"1m"}`,
	"inventory.extend":  `{"reservation_id":"x","ttl":"1m"}`,
	"inventory.commit":  `{"reservation_id":"x","ttl":"1m"}`,
	"inventory.release": `{"reservation_id":"x","ttl":"1m"}`,
	"inventory.consume": `{"reservation_id":"x","shipment_id":"x","lines":[{"sku":"x","quantity":1}]}`,

	"payment.authorize": `{"payment_id":"x","order_id":"x","amount":{"amount":1,"currency":"EUR"},"method":"card","token":"tok_ok"}`,
	"payment.capture":   `{"payment_id":"x","capture_id":"x","amount":{"amount":1,"currency":"EUR"}}`,
	"payment.refund":    `{"payment_id":"x","refund_id":"x","amount":{"amount":1,"currency":"EUR"}}`,
	"payment.void":      `{"payment_id":"x"}`,
	"payment.resume":    `{"payment_id":"x","token":"tok_ok"}`,
	"payment.get":       `{"payment_id":"x"}`,
	"payment.ledger":    `{"limit":1,"cursor":""}`,

	"order.place": `{"order_id":"x","customer_id":"x","email":"a@example.com","lines":[{"sku":"espresso","quantity":1}],"fulfilment":"ship",` +
		`"ship_to":{"name":"A","line1":"1","line2":"2","city":"C","region":"R","postal_code":"1","country":"DE"},` +
		`"payment":{"method":"card","token":"tok_ok"},"expected_total":{"amount":298,"currency":"EUR"}}`,
	"order.get":     `{"order_id":"x","reason":"r"}`,
	"order.cancel":  `{"order_id":"x","reason":"r"}`,
	"order.list":    `{"limit":1,"cursor":"","status":"confirmed","customer_id":"x","since":"2026-01-01T00:00:00.000Z","until":"2026-01-01T00:00:00.000Z","text":"x"}`,
	"order.history": `{"order_id":"x"}`,

	"shipping.list": `{"limit":1,"cursor":"","status":"pending","order_id":"x"}`,

	"notification.list":      `{"limit":1,"cursor":"","order_id":"x","status":"dead"}`,
	"notification.redeliver": `{"notification_id":"x"}`,

	"webhook.put":    `{"webhook_id":"x","url":"https://example.com/","events":["order.*"],"secret":"0123456789abcdef"}`,
	"webhook.get":    `{"webhook_id":"x"}`,
	"webhook.list":   `{"limit":1,"cursor":""}`,
	"webhook.delete": `{"webhook_id":"x"}`,

	"config.get":      `{"key":"log.level"}`,
	"config.list":     `{}`,
	"config.set":      `{"key":"log.level","value":"info","by":"x","expected_revision":1}`,
	"config.history":  `{"key":"log.level"}`,
	"config.rollback": `{"key":"log.level","revision":1,"by":"x"}`,
	"config.watch":    `{"after_revision":1}`,

	"health.list": `{}`,

	"dead.list":    `{"limit":1,"cursor":""}`,
	"dead.get":     `{"id":1}`,
	"dead.redrive": `{"id":1}`,
	"dead.discard": `{"id":1}`,

	"journal.seals":   `{"limit":1,"cursor":""}`,
	"journal.view":    `{}`,
	"journal.rebuild": `{}`,

	"customer.erase": `{"customer_id":"x"}`,
}

// verbs of a shipment take one form.
var verbs = []string{"get", "book", "prepare", "ready", "dispatch", "deliver", "fail", "return", "split"}

const shipmentVerb = `{"shipment_id":"x","carrier":"c","tracking":"t","reason":"r","lines":[{"sku":"x","quantity":1}]}`

// attack is a request that must be refused, and as what.
type attack struct {
	name, method, payload string
	code                  subjects.Code // empty: invalid_argument
	field                 string        // that the refusal names, or a part of which it names; "-": whatever it names
	hidden                string        // that the refusal must not repeat
}

// malformed are payloads that are no request at all.
func malformed(method, sound string) []attack {
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	list := []attack{
		{name: "empty", payload: ""}, {name: "blank", payload: " \n\t"}, {name: "null", payload: "null"}, {name: "list", payload: "[]"},
		{name: "list of it", payload: "[" + sound + "]"}, {name: "text", payload: `"{}"`}, {name: "number", payload: "1"}, {name: "cut off", payload: "{", field: "-"},
		{name: "without its end", payload: sound[:len(sound)-1], field: "-"}, {name: "trailing text", payload: sound + "x", field: "-"},
		{name: "two of it", payload: sound + sound, field: "-"}, {name: "trailing comma", payload: sound[:len(sound)-1] + ",}", field: "-"},
		{name: "comment", payload: "/**/" + sound, field: "-"}, {name: "single quotes", payload: `{'a':1}`, field: "-"},
		{name: "unknown field", payload: with(sound, `"no_such_field":1`), field: "no_such_field"},
		{name: "unknown field of an odd name", payload: with(sound, `"a.b\u0000*":1`), field: "-"},
		{name: "prototype", payload: with(sound, `"__proto__":{}`), field: "__proto__"},
		{name: "invalid UTF-8", payload: with(sound, "\"a\":\"\xff\""), field: "-"}, {name: "lone surrogate", payload: with(sound, `"a":"\ud800"`), field: "-"},
		{name: "UTF-16", payload: "\xff\xfe{\x00}\x00", field: "-"}, {name: "byte order mark", payload: "\xef\xbb\xbf" + sound, field: "-"},
		{name: "NUL", payload: sound + "\x00", field: "-"}, {name: "deep nesting", payload: deep, field: "-"}, {name: "deep lists", payload: strings.Repeat("[", 100_000), field: "-"},
		{name: "a million bytes", payload: with(sound, `"a":"`+strings.Repeat("x", 1_000_000)+`"`), field: "-"},
	}
	if sound != "{}" {
		first, _, _ := strings.Cut(sound[1:], ":")
		list = append(list,
			attack{name: "a name twice", payload: with(sound, first+":1"), field: strings.Trim(first, `"`)},
			attack{name: "a name in capitals", payload: "{" + strings.ToUpper(first) + sound[1+len(first):], field: strings.ToUpper(strings.Trim(first, `"`))})
	}
	for i := range list {
		list[i].method = method
	}
	return list
}

// with adds a member to an object.
func with(object, member string) string {
	if object == "{}" {
		return "{" + member + "}"
	}
	return object[:len(object)-1] + "," + member + "}"
}

// spot is a member or element of a request: how it is named in refusals, and the request with another value there.
type spot struct {
	field   string
	value   any
	instead func(value string) string
}

// spots are all spots in a request.
func spots(t testing.TB, request string) []spot {
	t.Helper()
	var root any
	if err := json.Unmarshal([]byte(request), &root); err != nil {
		t.Fatal(err)
	}
	write := func() string {
		b, err := json.Marshal(root, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var out []spot
	var walk func(field string, v any)
	add := func(field string, v any, set func(any)) {
		out = append(out, spot{field, v, func(value string) string {
			set(jsontext.Value(value))
			defer set(v)
			return write()
		}})
		walk(field, v)
	}
	walk = func(field string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				path := name
				if field != "" {
					path = field + "." + name
				}
				add(path, v[name], func(x any) { v[name] = x })
			}
		case []any:
			for i := range v {
				add(fmt.Sprintf("%s[%d]", field, i), v[i], func(x any) { v[i] = x })
			}
		}
	}
	walk("", root)
	return out
}

// mistyped are requests with one value of a wrong type or out of all range.
func mistyped(t testing.TB, method, sound string, required []string) []attack {
	t.Helper()
	values := map[string]string{"true": "true", "text": `"x y"`, "whole": "7", "fraction": "1.5", "point": "1.0", "exponent": "1e2", "huge": "1e400",
		"long": "92233720368547758080", "longer": "-92233720368547758081", "list": "[]", "object": "{}", "list of null": "[null]"}
	var out []attack
	for _, p := range spots(t, sound) {
		if method == "config.set" && p.field == "value" {
			continue // any value of JSON is one: which is good, its setting decides
		}
		var bad []string
		switch p.value.(type) {
		case bool:
			bad = []string{"text", "whole", "list", "object"}
		case string:
			bad = []string{"true", "whole", "fraction", "huge", "list", "object"}
		case float64:
			bad = []string{"true", "text", "fraction", "point", "exponent", "huge", "long", "longer", "list", "object"}
		case []any:
			bad = []string{"true", "text", "whole", "object"}
		case map[string]any:
			bad = []string{"true", "text", "whole", "list", "list of null"}
		}
		for _, kind := range bad {
			out = append(out, attack{name: p.field + " is " + kind, method: method, payload: p.instead(values[kind]), field: p.field})
		}
		if slices.Contains(required, p.field) {
			out = append(out, attack{name: p.field + " is null", method: method, payload: p.instead("null"), field: p.field})
		}
	}
	for _, name := range required {
		var fields map[string]jsontext.Value
		if err := json.Unmarshal([]byte(sound), &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, name)
		rest, err := json.Marshal(fields, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, attack{name: "without " + name, method: method, payload: string(rest), field: name})
	}
	return out
}

// derived are the ids that the program may have made itself, and which may be longer than those that callers choose.
var derived = map[string]bool{"payment_id": true, "capture_id": true, "refund_id": true, "reservation_id": true, "shipment_id": true, "notification_id": true}

// texts are the fields that people write, and how long they may be.
var texts = map[string]int{"name": 200, "ship_to.name": 200, "ship_to.line1": 200, "ship_to.line2": 200, "ship_to.city": 200, "ship_to.region": 200,
	"ship_to.postal_code": 20, "reason": 500, "carrier": 100, "tracking": 100, "text": 100, "email": 254, "cursor": 512, "url": 2048, "key": 100,
	"payment.token": 128, "token": 128, "secret": 128}

// misnamed are requests with an id that is none, a text that is none, or a number out of its bounds.
func misnamed(t testing.TB, method, sound string, required []string) []attack {
	t.Helper()
	var out []attack
	for _, p := range spots(t, sound) {
		add := func(name, value string) {
			out = append(out, attack{name: p.field + " is " + name, method: method, payload: p.instead(value), field: p.field})
		}
		last := p.field[strings.LastIndexByte(p.field, '.')+1:]
		switch {
		case strings.HasSuffix(last, "_id"), last == "sku", last == "reference":
			longest := 48
			if derived[last] {
				longest = 64
			}
			for _, bad := range []string{"a.b", "*", ">", "a.>", "a b", "ü", "a/b", "../x", "$JS", `a\u0000b`, `a\nb`, "a\u202eb", strings.Repeat("x", longest+1), strings.Repeat("x", 100_000)} {
				add(fmt.Sprintf("%.20s", bad), `"`+bad+`"`)
			}
			if slices.Contains(required, p.field) || strings.Contains(p.field, ".") {
				add("empty", `""`)
			}
		case last == "currency":
			for _, bad := range []string{"", "eur", "EURO", "XXX", "EU", "€", "E R"} {
				add(bad, `"`+bad+`"`)
			}
		case last == "amount":
			if _, isNumber := p.value.(float64); isNumber {
				add("negative", "-1")
				add("beyond 2^53", "9007199254740992")
				add("the least of all", "-9223372036854775808")
			}
		case last == "quantity":
			if method != "inventory.adjust" {
				add("negative", "-1")
			}
			add("none", "0")
			add("too many", "1000001")
			add("the least of all", "-9223372036854775808")
		case last == "limit":
			add("501", "501")
			add("negative", "-1")
		case last == "status", last == "method", last == "fulfilment":
			add("of no kind", `"nothing"`)
			add("in capitals", `"CONFIRMED"`)
		case last == "ttl":
			for _, bad := range []string{"-1s", "1", "1 h", "900h", "1us", "99999999999h", "NaN"} {
				add(bad, `"`+bad+`"`)
			}
		case last == "since", last == "until":
			for _, bad := range []string{"yesterday", "2026-13-01T00:00:00Z", "2026-01-01", "20260101T000000Z", "12026-01-01T00:00:00Z"} {
				add(bad, `"`+bad+`"`)
			}
		case last == "country":
			for _, bad := range []string{"de", "DEU", "D", "", "D1"} {
				add(bad, `"`+bad+`"`)
			}
		case last == "tax_rate_bp":
			add("negative", "-1")
			add("too high", "100001")
		case last == "id":
			add("none", "0")
			add("negative", "-1")
		}
		if most, isText := texts[p.field]; isText {
			add("too long", `"`+strings.Repeat("x", most+1)+`"`)
			for _, bad := range []string{`a\u0000b`, `a\nb`, `a\u001b[31mb`, `a\u007fb`, `a\u0085b`} {
				add("with a control character", `"`+bad+`"`)
			}
		}
		if last == "token" {
			for _, number := range []string{"4111111111111111", "5500005555555559", "340000000000009", "6011000000000004", "4222222222222", "4111-1111-1111-1111", "4111.1111.1111.1111"} {
				out = append(out, attack{name: "a card number", method: method, payload: p.instead(`"` + number + `"`), field: p.field, hidden: number})
			}
			out = append(out,
				attack{name: "a card number with spaces", method: method, payload: p.instead(`"4111 1111 1111 1111"`), field: p.field, hidden: "1111 1111"},
				attack{name: "a card number as a number", method: method, payload: p.instead(`4111111111111111`), field: p.field, hidden: "4111111111111111"})
		}
	}
	return out
}

// absurd are requests whose fields are each well formed, and which are wrong all the same.
func absurd() []attack {
	lines := func(n int, line string) string {
		return "[" + strings.Repeat(line+",", n-1) + line + "]"
	}
	place := sound["order.place"]
	instead := func(request, old, with string) string {
		if strings.Count(request, old) != 1 {
			return "the test is wrong about " + old
		}
		return strings.Replace(request, old, with, 1)
	}
	const one = `{"sku":"espresso","quantity":1}`
	out := []attack{
		{name: "no lines", method: "order.place", payload: instead(place, "["+one+"]", "[]"), field: "lines"},
		{name: "201 lines", method: "order.place", payload: instead(place, "["+one+"]", lines(201, one)), field: "lines"},
		{name: "201 lines", method: "inventory.reserve", payload: `{"reservation_id":"x","lines":` + lines(201, one) + `}`, field: "lines"},
		{name: "201 lines", method: "inventory.consume", payload: `{"reservation_id":"x","shipment_id":"x","lines":` + lines(201, one) + `}`, field: "lines"},
		{name: "201 lines", method: "shipping.split", payload: `{"shipment_id":"x","lines":` + lines(201, one) + `}`, field: "lines"},
		{name: "lines beyond the most", method: "inventory.reserve", payload: `{"reservation_id":"x","lines":` + lines(2, `{"sku":"x","quantity":600000}`) + `}`, field: "lines[0].quantity"},
		{name: "lines beyond the most", method: "order.place", payload: instead(place, "["+one+"]", lines(2, `{"sku":"espresso","quantity":600000}`)), field: "lines[0].quantity"},
		{name: "a null line", method: "order.place", payload: instead(place, one, "null"), field: "lines[0]"},
		{name: "a line twice over", method: "order.place", payload: instead(place, `"quantity":1`, `"quantity":1,"quantity":2`), field: "lines[0].quantity"},
		{name: "an unknown field in a line", method: "order.place", payload: instead(place, `"quantity":1`, `"quantity":1,"price":0`), field: "lines[0].price"},
		{name: "a price of one's own", method: "order.place", payload: instead(place, `"quantity":1`, `"quantity":1,"unit_price":{"amount":1,"currency":"EUR"}`), field: "lines[0].unit_price"},
		{name: "cash with a token", method: "order.place", payload: instead(place, `"card"`, `"cash"`), field: "payment.token"},
		{name: "pickup with an address", method: "order.place", payload: instead(place, `"fulfilment":"ship"`, `"fulfilment":"pickup"`), field: "ship_to"},
		{name: "mail with a name", method: "order.place", payload: instead(place, "a@example.com", "A <a@example.com>"), field: "email"},
		{name: "two mails", method: "order.place", payload: instead(place, "a@example.com", "a@example.com, b@example.com"), field: "email"},
		{name: "mail with a header", method: "order.place", payload: instead(place, "a@example.com", `a@example.com\r\nBcc: b@example.com`), field: "email"},
		{name: "a wrong total", method: "order.place", payload: instead(place, "298", "297"), code: subjects.FailedPrecondition, field: "expected_total"},
		{name: "an unknown item", method: "order.place", payload: instead(place, "espresso", "no-such"), code: subjects.FailedPrecondition, field: "lines[0].sku"},
		{name: "cash with a token", method: "payment.authorize", payload: instead(sound["payment.authorize"], `"card"`, `"cash"`), field: "token"},
		{name: "a setting that is none", method: "config.set", payload: `{"key":"no.such","value":1}`, code: subjects.NotFound, field: "key"},
		{name: "a value deep within", method: "config.set", payload: `{"key":"log.level","value":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, field: "value"},
		{name: "a key with a path", method: "config.set", payload: `{"key":"../health/x","value":"info"}`, code: subjects.NotFound, field: "key"},
	}
	for _, address := range []string{"", "ftp://example.com/", "example.com", "http://", "http://u:p@example.com/", "javascript:alert(1)", "file:///etc/passwd", "http://a b/", "http://example.com/#x", `http://example.com/\u0000`} {
		out = append(out, attack{name: "the address " + address, method: "webhook.put", payload: instead(sound["webhook.put"], "https://example.com/", address), field: "url"})
	}
	for _, event := range []string{"", "order", "order.", ".confirmed", "order.nothing", "nothing.*", "*.*", "order.confirmed.v1", "wb.local.evt.>", "leader"} {
		out = append(out, attack{name: "the event " + event, method: "webhook.put", payload: instead(sound["webhook.put"], "order.*", event), field: "events[0]"})
	}
	for method, request := range sound {
		if strings.Contains(request, `"cursor":""`) {
			for _, cursor := range []string{"x", "-1", "0", "AAAA", "!", "99999999999999999999", strings.Repeat("A", 512)} {
				out = append(out, attack{name: "the cursor " + cursor[:min(len(cursor), 20)], method: method, payload: instead(request, `"cursor":""`, `"cursor":"`+cursor+`"`), field: "cursor"})
			}
		}
	}
	return out
}
