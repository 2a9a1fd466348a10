package node_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/subjects"
)

// listsStory tells that who was told of an order finds it in the next list, and of the lists' filters and pages.
func listsStory(t *testing.T, s *site) {
	s.onSale(t, "list-a", subjects.Money{Amount: 100, Currency: "EUR"}, 0)
	s.onSale(t, "list-b", subjects.Money{Amount: 100, Currency: "EUR"}, 0)
	var orders []id.Order // newest first
	for i := range 12 {
		r := card(id.Order("list-"+strconv.Itoa(i)), "tok_ok", line("list-a", 1))
		r.CustomerID = id.Customer("list-c-" + strconv.Itoa(i%2))
		want := subjects.OrderStatus("confirmed")
		if i%3 == 0 {
			r.Payment.Token, r.Lines[0].SKU, want = "tok_declined", "list-b", "rejected"
		}
		placed := s.place(t, r, want)
		page := call(t, s.c, subjects.OrderList, subjects.ListOrdersRequest{Page: subjects.Page{Limit: 1}})
		if len(page.Orders) != 1 || page.Orders[0].OrderID != r.OrderID || page.Orders[0].Status != want || page.Orders[0].Revision < placed.Revision ||
			page.Orders[0].Email != r.Email || page.Orders[0].Payment == nil {
			t.Errorf("right after the reply the list begins with %s, want %s", text(t, page.Orders), r.OrderID)
		}
		orders = slices.Insert(orders, 0, r.OrderID)
	}
	since := call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: "list-4"}).CreatedAt
	pick := func(f func(i int) bool) []id.Order {
		var out []id.Order
		for i := 11; i >= 0; i-- {
			if f(i) {
				out = append(out, orders[11-i])
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		filter subjects.ListOrdersRequest
		want   []id.Order
	}{
		"text":     {subjects.ListOrdersRequest{Text: "LIST-A"}, pick(func(i int) bool { return i%3 != 0 })},
		"customer": {subjects.ListOrdersRequest{CustomerID: "list-c-1"}, pick(func(i int) bool { return i%2 == 1 })},
		"status":   {subjects.ListOrdersRequest{Status: "rejected", Text: "list-b"}, pick(func(i int) bool { return i%3 == 0 })},
		"both":     {subjects.ListOrdersRequest{Status: "confirmed", CustomerID: "list-c-0"}, pick(func(i int) bool { return i%3 != 0 && i%2 == 0 })},
		"since":    {subjects.ListOrdersRequest{Since: since, Text: "list-"}, pick(func(i int) bool { return i >= 4 })},
		"until":    {subjects.ListOrdersRequest{Until: since, Text: "list-"}, pick(func(i int) bool { return i < 4 })},
		"none":     {subjects.ListOrdersRequest{CustomerID: "list-c-2"}, nil},
	} {
		for _, limit := range []int{0, 1, 3, 12} {
			var got []id.Order
			c.filter.Limit = limit
			for o, err := range s.c.Orders.All(within(t), c.filter) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, o.OrderID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("filter %s, pages of %d: %v, want %v", name, limit, got, c.want)
			}
		}
	}
	// A cursor is one list's.
	cursor := call(t, s.c, subjects.OrderList, subjects.ListOrdersRequest{Page: subjects.Page{Limit: 1}}).NextCursor
	refused(t, s.c, subjects.OrderList, subjects.ListOrdersRequest{Page: subjects.Page{Cursor: cursor}, Status: "rejected"}, subjects.InvalidArgument, "cursor")
	refused(t, s.c, subjects.ShippingList, subjects.ListShipmentsRequest{Page: subjects.Page{Cursor: cursor}}, subjects.InvalidArgument, "cursor")
	refused(t, s.c, subjects.OrderHistory, subjects.OrderRequest{OrderID: "list-none"}, subjects.NotFound, "order_id")
	if open := call(t, s.c, subjects.ShippingList, subjects.ListShipmentsRequest{Status: "delivered"}).Shipments; len(open) != 0 {
		t.Errorf("delivered are %s", text(t, open))
	}
}

// viewStory throws the read models away: what they tell afterwards is what they told before.
func viewStory(t *testing.T, s *site) {
	s.onSale(t, "view", subjects.Money{Amount: 100, Currency: "EUR"}, 0)
	s.place(t, card("view", "tok_ok", line("view", 1)), "confirmed")
	told := func() string {
		return text(t, call(t, s.c, subjects.OrderList, subjects.ListOrdersRequest{Page: subjects.Page{Limit: 500}})) +
			text(t, call(t, s.c, subjects.ShippingList, subjects.ListShipmentsRequest{Page: subjects.Page{Limit: 500}})) +
			text(t, call(t, s.c, subjects.CatalogList, subjects.ListRequest{Page: subjects.Page{Limit: 500}})) +
			text(t, call(t, s.c, subjects.NotificationList, subjects.ListNotificationsRequest{Page: subjects.Page{Limit: 500}})) +
			text(t, call(t, s.c, subjects.WebhookList, subjects.ListRequest{}))
	}
	s.settled(t)
	before := told()
	call(t, s.c, subjects.JournalRebuild, subjects.Empty{})
	eventually(t, "the read models are rebuilt", func() bool {
		v := call(t, s.c, subjects.JournalView, subjects.Empty{})
		return v.Sequence >= v.Target
	})
	if after := told(); after != before {
		t.Errorf("rebuilt, the read models tell\n%s\nbefore\n%s", after, before)
	}
}

// settled waits until the site has nothing more to do: every notification is told and the journal has stood still for a while.
func (s *site) settled(t testing.TB) uint64 {
	t.Helper()
	const quiet = 200 * time.Millisecond
	var last uint64
	since := time.Now()
	eventually(t, "the journal stands still", func() bool {
		now, err := s.c.Last(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > quiet
	})
	return last
}
