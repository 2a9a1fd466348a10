package view_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"waybill/internal/timestamp"
	"waybill/internal/view"
	"waybill/subjects"
)

// model is the view in its plainest form: it takes one event at a time and looks through everything.
type model struct {
	rows map[subjects.Kind]map[string]*modelRow
}

type modelRow struct {
	id            string
	num, sequence uint64
	owner         uint64 // num of the order, or of the payment, that was there when the last event came
	fields        fields
	state         []byte
}

// fields is what a state says, kept apart so that the model needs no parser.
type fields struct {
	status, customer, order, payment string
	created, due                     timestamp.Time
	texts                            []string
	deleted                          bool
}

type event struct {
	view.Event
	fields fields
}

func (m *model) apply(e event) {
	if m.rows == nil {
		m.rows = map[subjects.Kind]map[string]*modelRow{}
	}
	if m.rows[e.Kind] == nil {
		m.rows[e.Kind] = map[string]*modelRow{}
	}
	r := m.rows[e.Kind][e.ID]
	if r == nil {
		r = &modelRow{id: e.ID, num: e.Sequence}
		m.rows[e.Kind][e.ID] = r
	}
	r.sequence, r.fields, r.state, r.owner = e.Sequence, e.fields, e.State, 0
	owner := m.rows[subjects.KindOrder][e.fields.order]
	if e.Kind == subjects.KindRefund {
		owner = m.rows[subjects.KindPayment][e.ID]
	}
	if owner != nil {
		r.owner = owner.num
	}
}

// list is the rows of a kind that fit, newest first.
func (m *model) list(kind subjects.Kind, fit func(*modelRow) bool) []*modelRow {
	var rows []*modelRow
	for _, r := range m.rows[kind] {
		if fit(r) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *modelRow) int { return cmp.Compare(b.num, a.num) })
	return rows
}

func (m *model) orders(f view.OrderFilter) []*modelRow {
	return m.list(subjects.KindOrder, func(r *modelRow) bool {
		x := &r.fields
		text := slices.ContainsFunc(append(x.texts, r.id, x.customer), func(s string) bool {
			return strings.Contains(strings.ToLower(s), strings.ToLower(f.Text))
		})
		return text && (f.Status == "" || x.status == f.Status) && (f.CustomerID == "" || x.customer == f.CustomerID) &&
			(f.Since.IsZero() || !x.created.Before(f.Since)) && (f.Until.IsZero() || x.created.Before(f.Until))
	})
}

func (m *model) parts(kind subjects.Kind, status, order string) []*modelRow {
	return m.list(kind, func(r *modelRow) bool {
		o := m.rows[subjects.KindOrder][order]
		return (status == "" || r.fields.status == status) && (order == "" || o != nil && r.owner == o.num)
	})
}

// describe writes an order with its parts as orderRow does.
func (m *model) describe(o *modelRow) string {
	var payment, refunds *modelRow
	if p := m.rows[subjects.KindPayment][o.fields.payment]; p != nil && p.owner == o.num {
		payment = p
		if r := m.rows[subjects.KindRefund][p.id]; r != nil && r.owner == p.num {
			refunds = r
		}
	}
	shipments := m.list(subjects.KindShipment, func(r *modelRow) bool { return r.owner == o.num })
	slices.Reverse(shipments)
	text := fmt.Sprintf("%s %d %d %s", o.id, o.num, o.sequence, o.state)
	for _, part := range []*modelRow{payment, refunds} {
		if part == nil {
			part = &modelRow{}
		}
		text += fmt.Sprintf(" / %d %s", part.sequence, part.state)
	}
	for _, s := range shipments {
		text += fmt.Sprintf(" / %s", s.state)
	}
	return text
}

func orderRow(o view.OrderRow) string {
	text := fmt.Sprintf("%s %d %d %s / %d %s / %d %s", o.OrderID, o.Created, o.Sequence, o.Order, o.PaymentSequence, o.Payment,
		o.RefundsSequence, o.Refunds)
	for _, s := range o.Shipments {
		text += fmt.Sprintf(" / %s", s)
	}
	return text
}

var (
	modelOrders    = []string{"A1", "b2", "C3", "d4", "E5", "f6", "G7", "h8"}
	modelCustomers = []string{"", "cust-1", "Walk-In"}
	modelStatuses  = []string{"pending", "confirmed", "completed"}
	modelTexts     = []string{"Espresso", "ESPRESSO doppio", "Öl 1 l", "tea%", "a_b"}
	modelKinds     = []subjects.Kind{subjects.KindOrder, subjects.KindOrder, subjects.KindPayment, subjects.KindRefund, subjects.KindShipment,
		subjects.KindNotification, subjects.KindCatalog, subjects.KindWebhook, subjects.KindStock, subjects.KindReservation}
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// anyTime may be none; times lie on both sides of those in filters, in no order.
func anyTime(t *rapid.T, name string) timestamp.Time {
	n := rapid.IntRange(-1, 9).Draw(t, name)
	if n < 0 {
		return timestamp.Time{}
	}
	return timestamp.Of(noon.Add(time.Duration(n) * time.Hour))
}

// anyEvent is an event of any aggregate, parts of orders that don't exist yet among them.
func anyEvent(t *rapid.T, sequence uint64) event {
	of := func(list []string, name string) string { return rapid.SampledFrom(list).Draw(t, name) }
	kind := rapid.SampledFrom(modelKinds).Draw(t, "kind")
	order := of(modelOrders, "order")
	e := event{Event: view.Event{Sequence: sequence, Kind: kind, EventID: fmt.Sprint("event-", sequence)}}
	f := &e.fields
	f.status, f.due = of(modelStatuses, "status"), anyTime(t, "due")
	switch kind {
	case subjects.KindOrder:
		e.ID = order
		f.customer, f.created, f.payment = of(modelCustomers, "customer"), anyTime(t, "created"), of([]string{order + "-pay", "none"}, "payment")
		f.texts = rapid.SliceOfN(rapid.SampledFrom(modelTexts), 0, 4).Draw(t, "texts")
		if len(f.texts)%2 == 1 {
			f.texts = f.texts[1:]
		}
		var lines []string
		for i := 0; i < len(f.texts); i += 2 {
			lines = append(lines, fmt.Sprintf(`{"sku":%q,"name":%q,"quantity":1}`, f.texts[i], f.texts[i+1]))
		}
		e.State = fmt.Appendf(nil, `{"order_id":%q,"status":%q,"customer_id":%q,"payment_id":%q,"created_at":%q,"due_at":%q,"lines":[%s],"n":%d}`,
			order, f.status, f.customer, f.payment, f.created, f.due, strings.Join(lines, ","), sequence)
		return e
	case subjects.KindPayment, subjects.KindRefund:
		e.ID = order + "-pay"
	case subjects.KindWebhook:
		e.ID = order
		f.deleted = rapid.Bool().Draw(t, "deleted")
	case subjects.KindCatalog, subjects.KindStock:
		e.ID = of(modelTexts[:2], "sku")
	default:
		e.ID = order + of([]string{"-1", "-2", "-3"}, "part")
	}
	f.order = order
	if kind == subjects.KindRefund || kind == subjects.KindCatalog || kind == subjects.KindWebhook {
		f.order = ""
	}
	e.State = fmt.Appendf(nil, `{"order_id":%q, "status":%q,"due_at":%q,"deleted":%t,"n":%d}`, f.order, f.status, f.due, f.deleted, sequence)
	return e
}

// pages reads a list to its end by its cursors and returns its rows as text.
func pages(t *rapid.T, read func(cursor string) (rows []string, next string, err error)) (all []string) {
	cursor := ""
	for range 100 {
		rows, next, err := read(cursor)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
		if next == "" {
			return all
		}
		cursor = next
	}
	t.Fatal("the list does not end")
	return nil
}

func same(t *rapid.T, what string, got, want []string) {
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestViewEqualsModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprintf("grown-%d.db", n))
		reopen := func() *view.View {
			v, err := view.Open(t.Context(), path, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		v := reopen()
		defer func() { mustClose(t, v) }()
		m := &model{}
		var all []view.Event
		sequence := uint64(0)
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			var batch []view.Event
			for range rapid.IntRange(0, 12).Draw(t, "events") {
				sequence += rapid.Uint64Range(1, 3000).Draw(t, "gap")
				e := anyEvent(t, sequence)
				m.apply(e)
				batch = append(batch, e.Event)
			}
			// Some of it comes again.
			again := rapid.IntRange(0, len(all)).Draw(t, "again")
			all = append(all, batch...)
			if err := v.Apply(t.Context(), all[again:]); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				mustClose(t, v)
				v = reopen()
			}
		}
		at, id, err := v.Position(t.Context())
		if err != nil || at != sequence || (at > 0 && id != fmt.Sprint("event-", sequence)) {
			t.Fatalf("position %d %q %v, want %d", at, id, err, sequence)
		}
		compare(t, v, m)

		rebuilt, err := view.Open(t.Context(), filepath.Join(dir, fmt.Sprintf("rebuilt-%d.db", n)), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, rebuilt)
		if err := rebuilt.Apply(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if a, b := dump(t, v), dump(t, rebuilt); a != b {
			t.Fatalf("grown:\n%s\nrebuilt:\n%s", a, b)
		}
	})
}

// compare asks for every list with any filter.
func compare(t *rapid.T, v *view.View, m *model) {
	ctx := t.Context()
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	for range 4 {
		f := view.OrderFilter{
			Status:     rapid.SampledFrom(append(modelStatuses, "", "", "none")).Draw(t, "filter status"),
			CustomerID: rapid.SampledFrom(append(modelCustomers, "", "nobody")).Draw(t, "filter customer"),
			Text:       rapid.SampledFrom([]string{"", "", "espresso", "ö", "öL", "%", "_", "ST-1", "c3", "nothing", "-ines", "o D"}).Draw(t, "filter text"),
			Since:      anyTime(t, "since"), Until: anyTime(t, "until"), Limit: limit,
		}
		var want []string
		for _, r := range m.orders(f) {
			want = append(want, m.describe(r))
		}
		same(t, fmt.Sprintf("orders %+v", f), pages(t, func(cursor string) (rows []string, next string, err error) {
			f.Cursor = cursor
			found, next, err := v.Orders(ctx, f)
			for _, r := range found {
				rows = append(rows, orderRow(r))
			}
			return rows, next, err
		}), want)
	}
	for _, customer := range []string{"cust-1", "nobody"} {
		var want []string
		for _, r := range m.orders(view.OrderFilter{CustomerID: customer}) {
			want = append(want, r.id)
		}
		same(t, "orders of "+customer, pages(t, func(cursor string) ([]string, string, error) {
			return v.OrdersOfCustomer(ctx, customer, limit, cursor)
		}), want)
	}
	texts := func(rows []view.Row) (texts []string) {
		for _, r := range rows {
			texts = append(texts, fmt.Sprintf("%s %d %s", r.ID, r.Sequence, r.State))
		}
		return texts
	}
	modelTexts := func(rows []*modelRow) (texts []string) {
		for _, r := range rows {
			texts = append(texts, fmt.Sprintf("%s %d %s", r.id, r.sequence, r.state))
		}
		return texts
	}
	for range 3 {
		status := rapid.SampledFrom(append(modelStatuses, "")).Draw(t, "part status")
		order := rapid.SampledFrom(append(modelOrders, "", "", "none")).Draw(t, "part order")
		same(t, "shipments", pages(t, func(cursor string) ([]string, string, error) {
			rows, next, err := v.Shipments(ctx, view.ShipmentFilter{Status: status, OrderID: order, Limit: limit, Cursor: cursor})
			return texts(rows), next, err
		}), modelTexts(m.parts(subjects.KindShipment, status, order)))
		same(t, "notifications", pages(t, func(cursor string) ([]string, string, error) {
			rows, next, err := v.Notifications(ctx, view.NotificationFilter{Status: status, OrderID: order, Limit: limit, Cursor: cursor})
			return texts(rows), next, err
		}), modelTexts(m.parts(subjects.KindNotification, status, order)))
	}
	byID := func(kind subjects.Kind) []string {
		rows := m.list(kind, func(r *modelRow) bool { return !r.fields.deleted })
		slices.SortFunc(rows, func(a, b *modelRow) int { return strings.Compare(a.id, b.id) })
		return modelTexts(rows)
	}
	same(t, "items", pages(t, func(cursor string) ([]string, string, error) {
		rows, next, err := v.Items(ctx, limit, cursor)
		return texts(rows), next, err
	}), byID(subjects.KindCatalog))
	same(t, "webhooks", pages(t, func(cursor string) ([]string, string, error) {
		rows, next, err := v.Webhooks(ctx, limit, cursor)
		return texts(rows), next, err
	}), byID(subjects.KindWebhook))
	compareDue(t, v, m)
}

func compareDue(t *rapid.T, v *view.View, m *model) {
	type item struct {
		view.DueItem
		num uint64
	}
	var list []item
	for _, kind := range []subjects.Kind{subjects.KindOrder, subjects.KindPayment, subjects.KindRefund, subjects.KindNotification} {
		for _, r := range m.rows[kind] {
			if !r.fields.due.IsZero() {
				list = append(list, item{view.DueItem{Kind: kind, ID: r.id, At: r.fields.due}, r.num})
			}
		}
	}
	slices.SortFunc(list, func(a, b item) int {
		return cmp.Or(strings.Compare(a.At.String(), b.At.String()), cmp.Compare(a.num, b.num))
	})
	at, ok, err := v.NextDueAfter(t.Context(), timestamp.Time{})
	if err != nil || ok != (len(list) > 0) || ok && at != list[0].At {
		t.Fatalf("next due %v %v %v of %v", at, ok, err, list)
	}
	now := timestamp.Of(noon.Add(4 * time.Hour))
	after, ok, err := v.NextDueAfter(t.Context(), now)
	first := slices.IndexFunc(list, func(i item) bool { return now.Before(i.At) })
	if err != nil || ok != (first >= 0) || ok && after != list[first].At {
		t.Fatalf("next due after %v: %v %v %v of %v", now, after, ok, err, list)
	}
	limit := rapid.IntRange(1, 20).Draw(t, "due limit")
	var want []view.DueItem
	for _, i := range list {
		if len(want) < limit && !now.Before(i.At) {
			want = append(want, i.DueItem)
		}
	}
	got, err := v.Due(t.Context(), now, limit)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("due %v (%v), want %v", got, err, want)
	}
}

func mustClose(t interface{ Fatal(...any) }, v *view.View) {
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func dump(t interface {
	Fatal(...any)
	Context() context.Context
}, v *view.View) string {
	var b bytes.Buffer
	if err := v.Dump(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
