package client_test

import (
	"fmt"
	"sync/atomic"

	"waybill/client"
	"waybill/subjects"
)

var done atomic.Bool // of the example of Watch

func ExampleNotifications_List() {
	ctx, c := till()
	placed(ctx, c, "notify-1", nil)
	var told []subjects.NotificationInfo
	for len(told) == 0 || told[0].Status == "queued" { // it is sent soon after the order is confirmed
		page, err := c.Notifications.List(ctx, subjects.ListNotificationsRequest{OrderID: "notify-1"})
		must(err)
		told = page.Notifications
	}
	fmt.Println(told[len(told)-1].Event, told[len(told)-1].Status)
	// Output: order.confirmed delivered
}

// What was delivered is not sent again; what failed is.
func ExampleNotifications_Redeliver() {
	ctx, c := till()
	placed(ctx, c, "notify-2", nil)
	var told []subjects.NotificationInfo
	for len(told) == 0 || told[0].Status == "queued" { // it is sent soon after the order is confirmed
		page, err := c.Notifications.List(ctx, subjects.ListNotificationsRequest{OrderID: "notify-2"})
		must(err)
		told = page.Notifications
	}
	_, err := c.Notifications.Redeliver(ctx, told[0].NotificationID)
	fmt.Println(client.CodeOf(err))
	// Output:
}

// The secret, with which deliveries are signed, is shown this once.
func ExampleWebhooks_Put() {
	ctx, c := till()
	hook, err := c.Webhooks.Put(ctx, subjects.PutWebhookRequest{WebhookID: "put-1", URL: "https://shop.example/hook", Events: []string{"order.expired"}})
	must(err)
	fmt.Println(hook.WebhookID, hook.Secret != "")
	// Output: put-1 true
}

func ExampleWebhooks_Get() {
	ctx, c := till()
	_, err := c.Webhooks.Put(ctx, subjects.PutWebhookRequest{WebhookID: "get-1", URL: "https://shop.example/hook", Events: []string{"order.expired"}})
	must(err)
	hook, err := c.Webhooks.Get(ctx, "get-1")
	must(err)
	fmt.Println(hook.URL, hook.Events, hook.Secret == "")
	// Output: https://shop.example/hook [order.expired] true
}

func ExampleWebhooks_List() {
	ctx, c := till()
	_, err := c.Webhooks.Put(ctx, subjects.PutWebhookRequest{WebhookID: "list-1", URL: "https://shop.example/hook", Events: []string{"order.expired"}})
	must(err)
	page, err := c.Webhooks.List(ctx, subjects.Page{})
	must(err)
	fmt.Println(len(page.Webhooks) > 0)
	// Output: true
}

func ExampleWebhooks_Delete() {
	ctx, c := till()
	_, err := c.Webhooks.Put(ctx, subjects.PutWebhookRequest{WebhookID: "delete-1", URL: "https://shop.example/hook", Events: []string{"order.expired"}})
	must(err)
	hook, err := c.Webhooks.Delete(ctx, "delete-1")
	must(err)
	fmt.Println(hook.WebhookID)
	// Output: delete-1
}

func ExampleHealth_List() {
	ctx, c := till()
	health, err := c.Health.List(ctx)
	must(err)
	fmt.Println(len(health.Instances) > 0, health.Leaders["inventory"] != "")
	// Output: true true
}

func ExampleClient_Services() {
	ctx, c := till()
	found, err := c.Services(ctx)
	must(err)
	for _, s := range found.Services {
		if s.Service == subjects.Order {
			fmt.Println(s.Service, s.Seen, s.Status)
		}
	}
	// Output: order both passing
}

func ExampleDead_List() {
	ctx, c := till()
	page, err := c.Dead.List(ctx, subjects.Page{})
	must(err)
	fmt.Println(len(page.Letters))
	// Output: 0
}

func ExampleDead_Get() {
	ctx, c := till()
	_, err := c.Dead.Get(ctx, 4711)
	fmt.Println(client.CodeOf(err))
	// Output: not_found
}

func ExampleDead_Redrive() {
	ctx, c := till()
	_, err := c.Dead.Redrive(ctx, 4711)
	fmt.Println(client.CodeOf(err))
	// Output: not_found
}

func ExampleDead_Discard() {
	ctx, c := till()
	_, err := c.Dead.Discard(ctx, 4711)
	fmt.Println(client.CodeOf(err))
	// Output: not_found
}

func ExampleCustomers_Erase() {
	ctx, c := till()
	_, err := c.Orders.Place(ctx, subjects.PlaceRequest{
		OrderID: "erase-1", CustomerID: "c-2", Email: "c2@shop.example", Lines: []subjects.StockLine{{SKU: "espresso", Quantity: 1}},
		Fulfilment: subjects.Pickup, Payment: subjects.PlacePayment{Method: subjects.Cash},
	})
	must(err)
	erased, err := c.Customers.Erase(ctx, "c-2")
	must(err)
	order, err := c.Orders.Get(ctx, "erase-1")
	must(err)
	fmt.Println(erased.Erased, order.Email)
	// Output: true
}

func ExampleJournal_Seals() {
	ctx, c := till()
	page, err := c.Journal.Seals(ctx, subjects.Page{Limit: 1})
	must(err)
	fmt.Println(len(page.Seals) <= 1) // the first of them is written after a while
	// Output: true
}

func ExampleJournal_View() {
	ctx, c := till()
	view, err := c.Journal.View(ctx)
	must(err)
	fmt.Println(view.Sequence > 0)
	// Output: true
}

func ExampleJournal_Rebuild() {
	ctx, c := till()
	view, err := c.Journal.Rebuild(ctx)
	must(err)
	fmt.Println(view.Target > 0)
	// Output: true
}

func ExampleConfig_Get() {
	ctx, c := till()
	setting, err := c.Config.Get(ctx, "order.pending_timeout")
	must(err)
	fmt.Println(setting.Type, string(setting.Default))
	// Output: duration "15m"
}

func ExampleConfig_List() {
	ctx, c := till()
	all, err := c.Config.List(ctx)
	must(err)
	fmt.Println(len(all.Settings) > 20, all.Ignored)
	// Output: true 0
}

func ExampleConfig_Set() {
	ctx, c := till()
	setting, err := c.Config.Set(ctx, "order.pending_timeout", "10m")
	must(err)
	fmt.Println(setting.Key, string(setting.Value))
	// Output: order.pending_timeout "10m"
}

// Who read a setting that another has changed meanwhile does not overwrite it.
func ExampleConfig_SetIf() {
	ctx, c := till()
	setting, err := c.Config.Set(ctx, "inventory.reservation_ttl_max", "12h")
	must(err)
	_, err = c.Config.SetIf(ctx, "inventory.reservation_ttl_max", "6h", setting.Revision)
	must(err)
	_, err = c.Config.SetIf(ctx, "inventory.reservation_ttl_max", "3h", setting.Revision)
	fmt.Println(client.CodeOf(err))
	// Output: failed_precondition
}

func ExampleConfig_History() {
	ctx, c := till()
	_, err := c.Config.Set(ctx, "order.retry_interval", "3s")
	must(err)
	history, err := c.Config.History(ctx, "order.retry_interval")
	must(err)
	fmt.Println(string(history.Revisions[0].Value))
	// Output: "3s"
}

func ExampleConfig_Rollback() {
	ctx, c := till()
	for _, limit := range []int{500, 600} {
		_, err := c.Config.Set(ctx, "rpc.max_in_flight", limit)
		must(err)
	}
	setting, err := c.Config.Rollback(ctx, "rpc.max_in_flight", 0)
	must(err)
	fmt.Println(string(setting.Value))
	// Output: 500
}

func ExampleConfig_Watch() {
	ctx, c := till()
	go func() { // somebody else, again and again, as nobody knows when Watch has begun
		for ms := 1000; ctx.Err() == nil && !done.Load(); ms++ {
			_, _ = c.Config.Set(ctx, "payment.gateway_timeout", fmt.Sprintf("%dms", ms))
		}
	}()
	for setting, err := range c.Config.Watch(ctx) {
		must(err)
		fmt.Println(setting.Key)
		break
	}
	done.Store(true)
	// Output: payment.gateway_timeout
}
