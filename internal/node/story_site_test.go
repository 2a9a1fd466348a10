package node_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/micro"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/configs"
	"waybill/internal/id"
	"waybill/subjects"
)

// TestSite tells of what looks after a site: its catalog, settings, webhooks, health and lists.
func TestSite(t *testing.T) {
	s := open(t)
	for name, f := range map[string]func(*testing.T, *site){
		"catalog": catalogStory, "settings": settingsStory, "webhooks": webhookStory, "health": healthStory, "services": servicesStory,
		"lists": listsStory, "payments by hand": paymentStory, "read models": viewStory,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
}

func catalogStory(t *testing.T, s *site) {
	item := subjects.PutItemRequest{SKU: "cat-00", Name: "Crème brûlée ☕", UnitPrice: subjects.Money{Amount: 450, Currency: "EUR"}, TaxRateBP: 700}
	want := subjects.Item{SKU: "cat-00", Name: item.Name, UnitPrice: item.UnitPrice, TaxRateBP: 700, Active: true}
	for range 2 {
		if got := *call(t, s.c, subjects.CatalogPut, item); got != want {
			t.Errorf("put %+v, want %+v", got, want)
		}
	}
	if got := *call(t, s.c, subjects.CatalogGet, subjects.SKURequest{SKU: "cat-00"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	refused(t, s.c, subjects.CatalogGet, subjects.SKURequest{SKU: "cat-none"}, subjects.NotFound, "sku")
	var skus []id.SKU
	for i := range 7 {
		item.SKU = id.SKU("cat-0" + strconv.Itoa(i))
		call(t, s.c, subjects.CatalogPut, item)
		skus = append(skus, item.SKU)
	}
	var found []id.SKU
	for cursor := ""; ; {
		page := call(t, s.c, subjects.CatalogList, subjects.ListRequest{Page: subjects.Page{Limit: 3, Cursor: cursor}})
		if len(page.Items) > 3 || len(page.Items) == 0 {
			t.Fatalf("a page of 3 holds %d", len(page.Items))
		}
		for _, i := range page.Items {
			if strings.HasPrefix(string(i.SKU), "cat-") {
				found = append(found, i.SKU)
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if !slices.Equal(found, skus) {
		t.Errorf("the pages hold %v, want %v", found, skus)
	}
}

func settingsStory(t *testing.T, s *site) {
	get := func(key string) *subjects.Setting {
		return call(t, s.c, subjects.ConfigGet, subjects.KeyRequest{Key: key})
	}
	if got := get("payment.capture"); string(got.Value) != `"on_dispatch"` || string(got.Default) != `"on_dispatch"` || got.SetBy != "" || !got.SetAt.IsZero() || got.Description == "" {
		t.Errorf("before it was set: %s", text(t, got))
	}
	for _, value := range []string{`"12s"`, `"13s"`} {
		if got := call(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "payment.gateway_timeout", Value: subjects.Raw(value)}); string(got.Value) != value || got.SetBy == "" || got.SetAt.IsZero() {
			t.Errorf("set: %s", text(t, got))
		}
	}
	if got := get("payment.gateway_timeout"); string(got.Value) != `"13s"` || string(got.Default) != `"5s"` || got.Type != "duration" {
		t.Errorf("after it was set: %s", text(t, got))
	}
	history := call(t, s.c, subjects.ConfigHistory, subjects.KeyRequest{Key: "payment.gateway_timeout"}).Revisions
	if len(history) != 2 || string(history[0].Value) != `"13s"` || string(history[1].Value) != `"12s"` || history[0].Revision <= history[1].Revision || history[0].SetBy == "" {
		t.Errorf("the history is %s", text(t, history))
	}
	for _, bad := range []struct{ key, value string }{
		{"payment.capture", `"sometimes"`}, {"payment.capture", `1`}, {"payment.capture", `null`}, {"payment.gateway_timeout", `"1h"`},
		{"payment.gateway_timeout", `"soon"`}, {"payment.gateway_timeout", `5`}, {"payment.gateway_timeout", `"-1s"`}, {"rpc.max_in_flight", `0`},
		{"rpc.max_in_flight", `1.5`}, {"rpc.max_in_flight", `"1"`}, {"rpc.max_in_flight", `[1]`}, {"rpc.max_in_flight", `{"a":1}`},
	} {
		refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: bad.key, Value: subjects.Raw(bad.value)}, subjects.InvalidArgument, "value")
	}
	refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "payment.captured", Value: subjects.Raw(`1`)}, subjects.NotFound, "key")
	refused(t, s.c, subjects.ConfigGet, subjects.KeyRequest{Key: "payment.captured"}, subjects.NotFound, "key")
	refused(t, s.c, subjects.ConfigHistory, subjects.KeyRequest{Key: "payment.captured"}, subjects.NotFound, "key")
	all := call(t, s.c, subjects.ConfigList, subjects.Empty{}).Settings
	if len(all) != len(configs.Settings()) || !slices.IsSortedFunc(all, func(a, b subjects.Setting) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("listed are %d settings of %d, or not by key", len(all), len(configs.Settings()))
	}
	// What another client of etcd writes badly is not taken; what it writes well is.
	etcd, key := s.etcd(t), subjects.ConfigPrefix(s.Config.Site)+"payment.gateway_timeout"
	for _, w := range []struct {
		write, holds string
		ignored      uint64
	}{{`"yesterday"`, `"13s"`, 1}, {`{`, `"13s"`, 1}, {`"14s"`, `"14s"`, 0}} {
		if _, err := etcd.Put(within(t), key, w.write); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the setting is "+w.holds+" after somebody wrote "+w.write, func() bool { return string(get("payment.gateway_timeout").Value) == w.holds })
		if got := call(t, s.c, subjects.ConfigList, subjects.Empty{}).Ignored; got != w.ignored {
			t.Errorf("after somebody wrote %s %d settings are ignored, want %d", w.write, got, w.ignored)
		}
	}
}

// etcd is a plain client of the node's etcd.
func (s *site) etcd(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoints().Etcd}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func webhookStory(t *testing.T, s *site) {
	put := subjects.PutWebhookRequest{WebhookID: "erp", URL: "https://erp.example.com/in?x=1", Events: []string{"order.confirmed", "shipment.*"}}
	made := call(t, s.c, subjects.WebhookPut, put)
	if len(made.Secret) < 16 || made.URL != put.URL || !slices.Equal(made.Events, put.Events) || made.CreatedAt.IsZero() {
		t.Errorf("made: %s", text(t, made))
	}
	put.URL = "https://erp.example.com/other"
	changed := call(t, s.c, subjects.WebhookPut, put)
	if changed.Secret != "" || changed.URL != put.URL || changed.CreatedAt != made.CreatedAt {
		t.Errorf("changed: %s", text(t, changed))
	}
	if got := call(t, s.c, subjects.WebhookGet, subjects.WebhookRequest{WebhookID: "erp"}); text(t, got) != text(t, changed) {
		t.Errorf("got: %s", text(t, got))
	}
	put.Secret = "0123456789abcdef"
	if got := call(t, s.c, subjects.WebhookPut, put); got.Secret != put.Secret {
		t.Errorf("with a secret of one's own: %s", text(t, got))
	}
	if got := call(t, s.c, subjects.WebhookPut, put); got.Secret != "" {
		t.Errorf("the same again shows the secret: %s", text(t, got))
	}
	call(t, s.c, subjects.WebhookPut, subjects.PutWebhookRequest{WebhookID: "bi", URL: "http://10.0.0.1:8081/", Events: []string{"*"}})
	listed := func() string {
		var ids []string
		for _, w := range call(t, s.c, subjects.WebhookList, subjects.ListRequest{}).Webhooks {
			if ids = append(ids, string(w.WebhookID)); w.Secret != "" {
				t.Errorf("the list shows the secret of %s", w.WebhookID)
			}
		}
		return strings.Join(ids, " ")
	}
	if got := listed(); got != "bi erp" {
		t.Errorf("listed are %q", got)
	}
	gone := call(t, s.c, subjects.WebhookDelete, subjects.WebhookRequest{WebhookID: "erp"})
	if gone.WebhookID != "erp" || gone.Secret != "" {
		t.Errorf("deleted: %s", text(t, gone))
	}
	refused(t, s.c, subjects.WebhookGet, subjects.WebhookRequest{WebhookID: "erp"}, subjects.NotFound, "webhook_id")
	refused(t, s.c, subjects.WebhookDelete, subjects.WebhookRequest{WebhookID: "erp"}, subjects.NotFound, "webhook_id")
	if got := listed(); got != "bi" {
		t.Errorf("after the deletion are listed %q", got)
	}
	put.Secret = ""
	if again := call(t, s.c, subjects.WebhookPut, put); again.Secret == "" || again.Secret == made.Secret || again.CreatedAt.Before(gone.UpdatedAt) {
		t.Errorf("made anew: %s", text(t, again))
	}
}

func healthStory(t *testing.T, s *site) {
	all := call(t, s.c, subjects.HealthList, subjects.Empty{})
	etcd := s.etcd(t)
	var instance string
	for _, service := range subjects.Services {
		i := slices.IndexFunc(all.Instances, func(i subjects.Instance) bool { return i.Service == service })
		if i < 0 {
			t.Errorf("%s is not in the list of health", service)
			continue
		}
		in := all.Instances[i]
		instance = in.Instance
		if in.Status != "passing" || in.Version != "0.0.0" || in.Since.IsZero() || len(in.Checks) == 0 {
			t.Errorf("the health of %s is %s", service, text(t, in))
		}
		got, err := etcd.Get(within(t), subjects.HealthKey(s.Config.Site, service, in.Instance))
		if err != nil || len(got.Kvs) != 1 || got.Kvs[0].Lease == 0 {
			t.Fatalf("etcd has %v of %s, error %v; want one key under a lease", got, service, err)
		}
		var held struct {
			Status   string         `json:"status"`
			Version  string         `json:"version"`
			Since    subjects.Time  `json:"since"`
			Checks   []any          `json:"checks"`
			Requests map[string]any `json:"requests"`
		}
		if err := json.Unmarshal(got.Kvs[0].Value, &held); err != nil || held.Status != "passing" || held.Version != "0.0.0" || held.Since.IsZero() || len(held.Checks) == 0 || held.Requests == nil {
			t.Errorf("etcd says of %s: %s", service, got.Kvs[0].Value)
		}
		lease, err := etcd.TimeToLive(within(t), clientv3.LeaseID(got.Kvs[0].Lease))
		if err != nil || lease.GrantedTTL != 5 {
			t.Errorf("the lease of %s: %+v, error %v; want 5 s", service, lease, err)
		}
	}
	if len(all.Instances) != len(subjects.Services) || all.Degraded != "" {
		t.Errorf("there are %d instances of %d services, degraded %q", len(all.Instances), len(subjects.Services), all.Degraded)
	}
	for _, role := range []string{subjects.RoleInventory, subjects.RoleProcess} {
		if all.Leaders[role] != instance {
			t.Errorf("the leader of %s is %q, want %q", role, all.Leaders[role], instance)
		}
		if got, err := etcd.Get(within(t), subjects.LeaderKey(s.Config.Site, role), clientv3.WithPrefix()); err != nil || len(got.Kvs) != 1 {
			t.Errorf("etcd has %d candidates for %s, error %v", len(got.Kvs), role, err)
		}
	}
}

// discover asks all services of the site for what they say of themselves.
func discover[T any](t testing.TB, s *site, verb string, want int) []T {
	t.Helper()
	inbox := s.plain.NewInbox()
	sub, err := s.plain.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.plain.PublishRequest("$SRV."+verb, inbox, nil); err != nil {
		t.Fatal(err)
	}
	out := make([]T, want)
	for i := range out {
		m, err := sub.NextMsgWithContext(within(t))
		if err != nil {
			t.Fatalf("$SRV.%s: answer %d of %d: %v", verb, i, want, err)
		}
		if err := json.Unmarshal(m.Data, &out[i]); err != nil {
			t.Fatalf("$SRV.%s: %v in %s", verb, err, m.Data)
		}
	}
	return out
}

func servicesStory(t *testing.T, s *site) {
	services := len(subjects.Services)
	seen := map[string]bool{}
	for _, info := range discover[micro.Info](t, s, "INFO", services) {
		seen[info.Name] = true
		if info.Metadata["site"] != string(s.Config.Site) || info.Metadata["instance"] == "" || info.Version != "0.0.0" || len(info.Endpoints) == 0 {
			t.Errorf("the service %s says %+v", info.Name, info)
		}
		for _, e := range info.Endpoints {
			var schema map[string]any
			for _, name := range []string{"request_schema", "response_schema"} {
				if err := json.Unmarshal([]byte(e.Metadata[name]), &schema); err != nil || schema["type"] != "object" {
					t.Errorf("%s of %s: %.100s, error %v", name, e.Subject, e.Metadata[name], err)
				}
			}
			if e.QueueGroup != info.Name || !strings.HasPrefix(e.Subject, "wb.local.") || e.Metadata["description"] == "" {
				t.Errorf("the endpoint %+v is not as it should be", e)
			}
		}
	}
	call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: "stats", Name: "stats", UnitPrice: subjects.Money{Amount: 1, Currency: "EUR"}})
	refused(t, s.c, subjects.CatalogGet, subjects.SKURequest{SKU: "stats-none"}, subjects.NotFound, "sku")
	type stats struct {
		Name      string `json:"name"`
		Started   string `json:"started"`
		Endpoints []struct {
			Name        string `json:"name"`
			NumRequests int    `json:"num_requests"`
			Data        struct {
				Errors map[subjects.Code]int `json:"errors"`
			} `json:"data"` // micro counts only the errors that it sends itself
		} `json:"endpoints"`
	}
	for _, stats := range discover[stats](t, s, "STATS", services) {
		if !seen[stats.Name] || stats.Started == "" || len(stats.Endpoints) == 0 {
			t.Errorf("the service %s counts %+v", stats.Name, stats)
		}
		for _, e := range stats.Endpoints {
			if stats.Name == "catalog" && (e.Name == "put" && e.NumRequests == 0 || e.Name == "get" && e.Data.Errors[subjects.NotFound] == 0) {
				t.Errorf("catalog.%s counts %+v", e.Name, e)
			}
		}
	}
	for _, ping := range discover[micro.Ping](t, s, "PING", services) {
		delete(seen, ping.Name)
	}
	if len(seen) > 0 {
		t.Errorf("no ping from %v", seen)
	}
}

// paymentStory moves money without an order.
func paymentStory(t *testing.T, s *site) {
	eur := func(cents int64) subjects.Money { return subjects.Money{Amount: cents, Currency: "EUR"} }
	ask := subjects.AuthorizeRequest{PaymentID: "hand", OrderID: "hand", Amount: eur(1000), Method: subjects.Card, Token: "tok_ok"}
	for range 2 {
		if p := call(t, s.c, subjects.PaymentAuthorize, ask); p.Status != "authorized" || p.Authorized != eur(1000) {
			t.Errorf("authorized: %s", text(t, p))
		}
	}
	ask.Amount = eur(1001)
	refused(t, s.c, subjects.PaymentAuthorize, ask, subjects.AlreadyExists, "payment_id")
	capture := func(c id.Capture, cents int64) subjects.CaptureRequest {
		return subjects.CaptureRequest{PaymentID: "hand", CaptureID: c, Amount: eur(cents)}
	}
	refund := func(r id.Refund, cents int64) subjects.RefundRequest {
		return subjects.RefundRequest{PaymentID: "hand", RefundID: r, Amount: eur(cents)}
	}
	refused(t, s.c, subjects.PaymentCapture, capture("c-1", 1001), subjects.FailedPrecondition, "amount")
	refused(t, s.c, subjects.PaymentRefund, refund("r-1", 1), subjects.FailedPrecondition, "amount")
	for range 2 {
		if p := call(t, s.c, subjects.PaymentCapture, capture("c-1", 400)); p.Status != "partially_captured" || p.Captured != eur(400) {
			t.Errorf("captured: %s", text(t, p))
		}
	}
	refused(t, s.c, subjects.PaymentCapture, capture("c-1", 401), subjects.AlreadyExists, "capture_id")
	refused(t, s.c, subjects.PaymentCapture, capture("c-2", 601), subjects.FailedPrecondition, "amount")
	refused(t, s.c, subjects.PaymentCapture, subjects.CaptureRequest{PaymentID: "hand", CaptureID: "c-2", Amount: subjects.Money{Amount: 1, Currency: "USD"}}, subjects.InvalidArgument, "amount")
	for range 2 {
		if p := call(t, s.c, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: "hand"}); p.Status != "voided" || p.Captured != eur(400) {
			t.Errorf("voided: %s", text(t, p))
		}
	}
	refused(t, s.c, subjects.PaymentCapture, capture("c-2", 1), subjects.FailedPrecondition, "")
	for range 2 {
		if p := call(t, s.c, subjects.PaymentRefund, refund("r-1", 150)); p.Refunded != eur(150) {
			t.Errorf("refunded: %s", text(t, p))
		}
	}
	refused(t, s.c, subjects.PaymentRefund, refund("r-1", 151), subjects.AlreadyExists, "refund_id")
	refused(t, s.c, subjects.PaymentRefund, refund("r-2", 251), subjects.FailedPrecondition, "amount")
	want := []string{"authorize approved 10.00 EUR", "capture approved 4.00 EUR", "void approved 6.00 EUR", "refund approved 1.50 EUR"}
	if got := s.ledger(t, "hand"); !slices.Equal(got, want) {
		t.Errorf("the ledger has %q, want %q", got, want)
	}
	for _, call := range []func(){
		func() {
			refused(t, s.c, subjects.PaymentGet, subjects.PaymentRequest{PaymentID: "no"}, subjects.NotFound, "payment_id")
		},
		func() {
			refused(t, s.c, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: "no"}, subjects.NotFound, "payment_id")
		},
		func() {
			refused(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: "no"}, subjects.NotFound, "payment_id")
		},
		func() {
			refused(t, s.c, subjects.PaymentCapture, subjects.CaptureRequest{PaymentID: "no", CaptureID: "c", Amount: eur(1)}, subjects.NotFound, "payment_id")
		},
		func() {
			refused(t, s.c, subjects.PaymentRefund, subjects.RefundRequest{PaymentID: "no", RefundID: "r", Amount: eur(1)}, subjects.NotFound, "payment_id")
		},
	} {
		call()
	}
}
