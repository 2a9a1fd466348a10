package node_test

import (
	"bufio"
	"bytes"
	"errors"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestHostile sends to every method what nobody should, and finds each refused in the contract's words and nothing recorded.
func TestHostile(t *testing.T) {
	s := open(t)
	nodetest.Stock(t, s.c, 10, "espresso")
	requests := maps.Clone(sound)
	for _, v := range verbs {
		requests["shipping."+v] = shipmentVerb
	}
	schemas := s.schemas(t)
	known(t, schemas, requests)
	var attacks []attack
	for _, method := range slices.Sorted(maps.Keys(requests)) {
		attacks = append(attacks, malformed(method, requests[method])...)
		attacks = append(attacks, mistyped(t, method, requests[method], schemas[method].Required)...)
		attacks = append(attacks, misnamed(t, method, requests[method], schemas[method].Required)...)
	}
	attacks = append(attacks, absurd()...)
	before := s.settled(t)
	for _, a := range attacks {
		a.check(t, s.ask(t, a.method, a.payload))
	}
	t.Logf("%d attacks on %d methods", len(attacks), len(requests))
	if after := s.settled(t); after != before {
		t.Errorf("the attacks left %d events in the journal", after-before)
	}
	for _, setting := range call(t, s.c, subjects.ConfigList, subjects.Empty{}).Settings {
		if setting.SetBy != "" {
			t.Errorf("the attacks set %s", text(t, setting))
		}
	}
	s.place(t, card("after", "tok_ok", line("espresso", 1)), "confirmed")
}

// check looks at a refusal: its code, its body and headers as the contract has them, and the field at fault.
func (a attack) check(t *testing.T, m *nats.Msg) {
	t.Helper()
	var body struct {
		Error struct {
			Code      subjects.Code `json:"code"`
			Message   string        `json:"message"`
			Retryable bool          `json:"retryable"`
			Field     string        `json:"field"`
		} `json:"error"`
	}
	want := a.code
	if want == "" {
		want = subjects.InvalidArgument
	}
	err := json.Unmarshal(m.Data, &body, json.RejectUnknownMembers(true))
	e := body.Error
	switch {
	case err != nil, e.Code != want, e.Message == "", e.Retryable != want.Retryable():
	case m.Header.Get("Nats-Service-Error-Code") != string(want), m.Header.Get("Nats-Service-Error") == "":
	case a.field != "-" && e.Field != a.field && !strings.HasPrefix(e.Field, a.field+".") && !strings.HasPrefix(e.Field, a.field+"["):
	case a.field == "" && e.Field != "":
	case a.hidden != "" && (bytes.Contains(m.Data, []byte(a.hidden)) || strings.Contains(m.Header.Get("Nats-Service-Error"), a.hidden)):
		t.Errorf("%s, %s: the refusal repeats %s: %s", a.method, a.name, a.hidden, m.Data)
		return
	default:
		return
	}
	t.Errorf("%s, %s: %.300s\nis answered %.600s with the headers %v; want %s of field %q", a.method, a.name, a.payload, m.Data, m.Header, want, a.field)
}

// known makes sure that every public method is attacked, and that its sound request names every field of its schema.
func known(t *testing.T, schemas map[string]schema, requests map[string]string) {
	t.Helper()
	for method, schema := range schemas {
		var fields map[string]any
		if err := json.Unmarshal([]byte(requests[method]), &fields); err != nil {
			t.Fatalf("the sound request to %s: %v", method, err)
		}
		for name := range schema.Properties {
			if _, ok := fields[name]; !ok {
				t.Errorf("the sound request to %s lacks %s", method, name)
			}
		}
	}
	for method := range requests {
		if _, ok := schemas[method]; !ok {
			t.Errorf("there is no method %s", method)
		}
	}
}

type schema struct {
	Properties map[string]any `json:"properties"`
	Required   []string       `json:"required"`
}

// schemas is what the site itself says of its public methods' requests.
func (s *site) schemas(t testing.TB) map[string]schema {
	t.Helper()
	out := map[string]schema{}
	prefix := "wb." + string(s.Config.Site) + ".rpc."
	for _, info := range discover[micro.Info](t, s, "INFO", len(subjects.Services)) {
		for _, e := range info.Endpoints {
			method, public := strings.CutPrefix(e.Subject, prefix)
			if !public {
				continue
			}
			var form schema
			if err := json.Unmarshal([]byte(e.Metadata["request_schema"]), &form); err != nil {
				t.Fatalf("the schema of %s: %v", method, err)
			}
			out[method] = form
		}
	}
	return out
}

// TestHostileHeaders sends sound requests with headers that are none.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	s := open(t)
	before := s.settled(t)
	for _, bad := range []struct{ name, value string }{
		{"Waybill-Timeout", "0"}, {"Waybill-Timeout", "-1"}, {"Waybill-Timeout", "1.5"}, {"Waybill-Timeout", "1s"},
		{"Waybill-Timeout", "999999999999999999999"}, {"Idempotency-Key", strings.Repeat("k", 256)}, {"Idempotency-Key", "a b"}, {"Idempotency-Key", "ü"},
	} {
		a := attack{name: bad.name + " " + bad.value[:min(len(bad.value), 20)], method: "catalog.put", payload: sound["catalog.put"]}
		a.check(t, s.ask(t, a.method, a.payload, nats.Header{bad.name: {bad.value}}))
	}
	// What only names the request is not worth a refusal.
	for _, odd := range []struct{ name, value string }{{"traceparent", "00-zz"}, {"Waybill-Request-Id", "a.b.*"}, {"Waybill-Barrier", "never"}, {"X-Anything", "x"}} {
		if m := s.ask(t, "health.list", "{}", nats.Header{odd.name: {odd.value}}); m.Header.Get(subjects.HeaderErrorCode) != "" || m.Header.Get(subjects.HeaderDurability) != "strict" {
			t.Errorf("with %s: %s is answered %s", odd.name, odd.value, m.Data)
		}
	}
	if after := s.settled(t); after != before {
		t.Errorf("%d events were recorded", after-before)
	}
}

// TestNoWayIn tries what no client may: the services' own methods, writing events, and payloads beyond the limit.
func TestNoWayIn(t *testing.T) {
	s := open(t)
	nodetest.Stock(t, s.c, 10, "espresso")
	before := s.settled(t)
	internal := 0
	for _, info := range discover[micro.Info](t, s, "INFO", len(subjects.Services)) {
		for _, e := range info.Endpoints {
			if strings.HasPrefix(e.Subject, "wb.local.int.") {
				internal++
				s.denied(t, &nats.Msg{Subject: e.Subject, Reply: "_INBOX.x", Data: []byte(`{}`)})
			}
		}
	}
	if internal < 8 {
		t.Errorf("only %d internal methods were found", internal)
	}
	for _, subject := range []string{
		subjects.Event(s.Config.Site, subjects.KindOrder, "x"), subjects.Event(s.Config.Site, subjects.KindLeader, "inventory"), "wb.local.key.c-1", subjects.Event(s.Config.Site, subjects.KindLedger, "x-pay"),
		"$JS.API.STREAM.PURGE.JOURNAL", "$JS.API.STREAM.DELETE.JOURNAL", "$JS.API.STREAM.UPDATE.JOURNAL", "$JS.API.STREAM.MSG.DELETE.JOURNAL", "$JS.API.STREAM.MSG.GET.KEYS",
		"$JS.API.CONSUMER.DELETE.JOURNAL.notify", "$JS.API.STREAM.CREATE.MINE", "$SYS.REQ.SERVER.PING",
	} {
		s.denied(t, &nats.Msg{Subject: subject, Reply: "_INBOX.x", Data: []byte(`{}`)})
	}
	// A reply subject leads nowhere but to its inbox.
	for _, reply := range []string{"wb.local.evt.order.x", "wb.local.rpc.order.cancel", "wb.local.int.order.proceed", "$JS.API.STREAM.PURGE.JOURNAL"} {
		if err := s.plain.PublishMsg(&nats.Msg{Subject: "wb.local.rpc.catalog.get", Reply: reply, Data: []byte(`{"sku":"espresso"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	big := &nats.Msg{Subject: "wb.local.rpc.catalog.put", Data: []byte(with(sound["catalog.put"], `"a":"`+strings.Repeat("x", 2<<20)+`"`))}
	if _, err := s.plain.RequestMsgWithContext(within(t), big); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a payload of 2 MB: %v", err)
	}
	s.flood(t, "PUB wb.local.rpc.catalog.put 2097152\r\n", "Maximum Payload")
	s.flood(t, "PUB "+strings.Repeat("x", 1<<20), "Maximum Control Line")
	s.flood(t, strings.Repeat("x", 1<<20), "Unknown Protocol Operation")
	if after := s.settled(t); after != before {
		t.Errorf("%d events were recorded", after-before)
	}
	s.place(t, card("after", "tok_ok", line("espresso", 1)), "confirmed")
}

// flood speaks to the server's port without a client, and waits for it to say why it hangs up.
func (s *site) flood(t *testing.T, text, why string) {
	t.Helper()
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil { // INFO
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("CONNECT {\"verbose\":false}\r\n" + text)); err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
		t.Fatal(err)
	}
	var said strings.Builder
	for {
		answer, err := r.ReadString('\n')
		said.WriteString(answer)
		if strings.Contains(strings.ToLower(answer), strings.ToLower(why)) {
			return
		}
		if err != nil {
			t.Errorf("it hung up with %q, error %v; want a word of %s", said.String(), err, why)
			return
		}
	}
}
