package client_test

import (
	"fmt"
	"time"

	"waybill/subjects"
)

func ExampleCatalog_Put() {
	ctx, c := till()
	item, err := c.Catalog.Put(ctx, subjects.PutItemRequest{SKU: "tea", Name: "Tea", UnitPrice: euro(310), TaxRateBP: 1900})
	must(err)
	fmt.Println(item.Name, item.UnitPrice, item.Active)
	// Output: Tea 3.10 EUR true
}

func ExampleCatalog_Get() {
	ctx, c := till()
	item, err := c.Catalog.Get(ctx, "espresso")
	must(err)
	fmt.Println(item.Name, item.UnitPrice)
	// Output: Espresso 2.50 EUR
}

func ExampleCatalog_List() {
	ctx, c := till()
	page, err := c.Catalog.List(ctx, subjects.Page{Limit: 2})
	must(err)
	for _, item := range page.Items {
		fmt.Println(item.SKU)
	}
	fmt.Println("more:", page.NextCursor != "")
	// Output:
	// beans
	// cup
	// more: true
}

func ExampleCatalog_All() {
	ctx, c := till()
	for item, err := range c.Catalog.All(ctx) {
		must(err)
		if item.SKU == "cup" {
			fmt.Println(item.Name, item.UnitPrice)
		}
	}
	// Output: Cup 2.50 EUR
}

// A delivery is received once, however often it is said.
func ExampleInventory_Receive() {
	ctx, c := till()
	r := subjects.ReceiveRequest{SKU: "filter", Quantity: 40, Reference: "delivery-1"}
	_, err := c.Inventory.Receive(ctx, r)
	must(err)
	stock, err := c.Inventory.Receive(ctx, r)
	must(err)
	fmt.Println(stock.OnHand)
	// Output: 40
}

func ExampleInventory_Adjust() {
	ctx, c := till()
	_, err := c.Inventory.Receive(ctx, subjects.ReceiveRequest{SKU: "spoon", Quantity: 10, Reference: "delivery-1"})
	must(err)
	stock, err := c.Inventory.Adjust(ctx, subjects.AdjustRequest{SKU: "spoon", Quantity: -3, Reference: "broken-1"})
	must(err)
	fmt.Println(stock.OnHand)
	// Output: 7
}

func ExampleInventory_Get() {
	ctx, c := till()
	stock, err := c.Inventory.Get(ctx, "beans")
	must(err)
	fmt.Println(stock.OnHand, stock.Available)
	// Output: 100 100
}

func ExampleInventory_List() {
	ctx, c := till()
	page, err := c.Inventory.List(ctx, subjects.Page{Limit: 1})
	must(err)
	fmt.Println(page.Items[0].SKU)
	// Output: beans
}

func ExampleInventory_All() {
	ctx, c := till()
	for stock, err := range c.Inventory.All(ctx) {
		must(err)
		if stock.SKU == "beans" {
			fmt.Println(stock.OnHand)
		}
	}
	// Output: 100
}

func ExampleInventory_Reserve() {
	ctx, c := till()
	reservation, err := c.Inventory.Reserve(ctx, subjects.ReserveRequest{
		ReservationID: "reserve-1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}}, TTL: subjects.Duration(15 * time.Minute),
	})
	must(err)
	fmt.Println(reservation.Status, reservation.Lines[0].Quantity)
	// Output: held 2
}

func ExampleInventory_Extend() {
	ctx, c := till()
	reservation, err := c.Inventory.Reserve(ctx, subjects.ReserveRequest{
		ReservationID: "extend-1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}}, TTL: subjects.Duration(15 * time.Minute),
	})
	must(err)
	longer, err := c.Inventory.Extend(ctx, subjects.ReservationRequest{ReservationID: "extend-1", TTL: subjects.Duration(time.Hour)})
	must(err)
	fmt.Println(reservation.ExpiresAt.Before(longer.ExpiresAt))
	// Output: true
}

func ExampleInventory_Commit() {
	ctx, c := till()
	_, err := c.Inventory.Reserve(ctx, subjects.ReserveRequest{
		ReservationID: "commit-1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}}, TTL: subjects.Duration(15 * time.Minute),
	})
	must(err)
	firm, err := c.Inventory.Commit(ctx, "commit-1")
	must(err)
	fmt.Println(firm.Status)
	// Output: committed
}

func ExampleInventory_Release() {
	ctx, c := till()
	_, err := c.Inventory.Reserve(ctx, subjects.ReserveRequest{
		ReservationID: "release-1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}}, TTL: subjects.Duration(15 * time.Minute),
	})
	must(err)
	given, err := c.Inventory.Release(ctx, "release-1")
	must(err)
	fmt.Println(given.Status)
	// Output: released
}

func ExampleInventory_Consume() {
	ctx, c := till()
	_, err := c.Inventory.Reserve(ctx, subjects.ReserveRequest{
		ReservationID: "consume-1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}}, TTL: subjects.Duration(15 * time.Minute),
	})
	must(err)
	_, err = c.Inventory.Commit(ctx, "consume-1")
	must(err)
	left, err := c.Inventory.Consume(ctx, subjects.ConsumeRequest{
		ReservationID: "consume-1", ShipmentID: "consume-1-s1", Lines: []subjects.StockLine{{SKU: "cup", Quantity: 2}},
	})
	must(err)
	fmt.Println(left.Status)
	// Output: consumed
}

// A decline is an answer, not an error.
func ExamplePayments_Authorize() {
	ctx, c := till()
	payment, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "authorize-1", OrderID: "authorize-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_declined",
	})
	must(err)
	fmt.Println(payment.Status, payment.DeclineCode)
	// Output: failed declined
}

func ExamplePayments_Capture() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "capture-1", OrderID: "capture-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	payment, err := c.Payments.Capture(ctx, subjects.CaptureRequest{PaymentID: "capture-1", CaptureID: "capture-1-a", Amount: euro(600)})
	must(err)
	fmt.Println(payment.Status, payment.Captured)
	// Output: partially_captured 6.00 EUR
}

func ExamplePayments_Refund() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "refund-1", OrderID: "refund-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	_, err = c.Payments.Capture(ctx, subjects.CaptureRequest{PaymentID: "refund-1", CaptureID: "refund-1-a", Amount: euro(1000)})
	must(err)
	payment, err := c.Payments.Refund(ctx, subjects.RefundRequest{PaymentID: "refund-1", RefundID: "refund-1-r", Amount: euro(250)})
	must(err)
	fmt.Println(payment.Captured, payment.Refunded)
	// Output: 10.00 EUR 2.50 EUR
}

func ExamplePayments_Void() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "void-1", OrderID: "void-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	payment, err := c.Payments.Void(ctx, "void-1")
	must(err)
	fmt.Println(payment.Status)
	// Output: voided
}

// The customer did what the bank asked for, which gave a new token.
func ExamplePayments_Resume() {
	ctx, c := till()
	payment, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "resume-1", OrderID: "resume-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_action_required",
	})
	must(err)
	fmt.Println(payment.Status)
	payment, err = c.Payments.Resume(ctx, "resume-1", "tok_ok")
	must(err)
	fmt.Println(payment.Status)
	// Output:
	// requires_action
	// authorized
}

func ExamplePayments_Get() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "pay-get-1", OrderID: "pay-get-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	payment, err := c.Payments.Get(ctx, "pay-get-1")
	must(err)
	fmt.Println(payment.Status, payment.Authorized)
	// Output: authorized 10.00 EUR
}

func ExamplePayments_Ledger() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "ledger-1", OrderID: "ledger-1-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	page, err := c.Payments.Ledger(ctx, subjects.Page{Limit: 1})
	must(err)
	fmt.Println(len(page.Entries))
	// Output: 1
}

func ExamplePayments_AllLedger() {
	ctx, c := till()
	_, err := c.Payments.Authorize(ctx, subjects.AuthorizeRequest{
		PaymentID: "ledger-2", OrderID: "ledger-2-order", Amount: euro(1000), Method: subjects.Card, Token: "tok_ok",
	})
	must(err)
	for entry, err := range c.Payments.AllLedger(ctx) {
		must(err)
		if entry.PaymentID == "ledger-2" {
			fmt.Println(entry.Operation, entry.Amount, entry.Result)
		}
	}
	// Output: authorize 10.00 EUR approved
}

func ExampleShipping_List() {
	ctx, c := till()
	shipment := planned(ctx, c, "ship-list-1", nil)
	page, err := c.Shipping.List(ctx, subjects.ListShipmentsRequest{OrderID: "ship-list-1"})
	must(err)
	fmt.Println(page.Shipments[0].ShipmentID == shipment)
	// Output: true
}

func ExampleShipping_Get() {
	ctx, c := till()
	shipment := planned(ctx, c, "ship-get-1", nil)
	info, err := c.Shipping.Get(ctx, shipment)
	must(err)
	fmt.Println(info.ShipmentID, info.Status)
	// Output: ship-get-1-s1 pending
}

func ExampleShipping_Book() {
	ctx, c := till()
	shipment := planned(ctx, c, "book-1", home)
	info, err := c.Shipping.Book(ctx, subjects.ShipmentRequest{ShipmentID: shipment, Carrier: "DHL", Tracking: "4711"})
	must(err)
	fmt.Println(info.Status, info.Carrier, info.Tracking)
	// Output: booked DHL 4711
}

func ExampleShipping_Prepare() {
	ctx, c := till()
	shipment := planned(ctx, c, "prepare-1", nil)
	info, err := c.Shipping.Prepare(ctx, subjects.ShipmentRequest{ShipmentID: shipment})
	must(err)
	fmt.Println(info.Status)
	// Output: preparing
}

func ExampleShipping_Ready() {
	ctx, c := till()
	shipment := planned(ctx, c, "ready-1", nil)
	r := subjects.ShipmentRequest{ShipmentID: shipment}
	_, err := c.Shipping.Prepare(ctx, r)
	must(err)
	info, err := c.Shipping.Ready(ctx, r)
	must(err)
	fmt.Println(info.Status)
	// Output: ready
}

func ExampleShipping_Dispatch() {
	ctx, c := till()
	shipment := planned(ctx, c, "dispatch-1", home)
	r := subjects.ShipmentRequest{ShipmentID: shipment, Carrier: "DHL", Tracking: "4711"}
	_, err := c.Shipping.Book(ctx, r)
	must(err)
	info, err := c.Shipping.Dispatch(ctx, subjects.ShipmentRequest{ShipmentID: shipment})
	must(err)
	fmt.Println(info.Status)
	// Output: dispatched
}

func ExampleShipping_Deliver() {
	ctx, c := till()
	shipment := planned(ctx, c, "deliver-1", nil)
	r := subjects.ShipmentRequest{ShipmentID: shipment}
	_, err := c.Shipping.Prepare(ctx, r)
	must(err)
	_, err = c.Shipping.Ready(ctx, r)
	must(err)
	info, err := c.Shipping.Deliver(ctx, r)
	must(err)
	fmt.Println(info.Status)
	// Output: delivered
}

func ExampleShipping_Fail() {
	ctx, c := till()
	shipment := planned(ctx, c, "fail-1", home)
	r := subjects.ShipmentRequest{ShipmentID: shipment, Carrier: "DHL", Tracking: "4711"}
	_, err := c.Shipping.Book(ctx, r)
	must(err)
	_, err = c.Shipping.Dispatch(ctx, subjects.ShipmentRequest{ShipmentID: shipment})
	must(err)
	info, err := c.Shipping.Fail(ctx, subjects.ShipmentRequest{ShipmentID: shipment, Reason: "nobody at home"})
	must(err)
	fmt.Println(info.Status, info.Reason)
	// Output: delivery_failed nobody at home
}

func ExampleShipping_Return() {
	ctx, c := till()
	shipment := planned(ctx, c, "return-1", home)
	r := subjects.ShipmentRequest{ShipmentID: shipment, Carrier: "DHL", Tracking: "4711"}
	_, err := c.Shipping.Book(ctx, r)
	must(err)
	_, err = c.Shipping.Dispatch(ctx, subjects.ShipmentRequest{ShipmentID: shipment})
	must(err)
	_, err = c.Shipping.Fail(ctx, subjects.ShipmentRequest{ShipmentID: shipment, Reason: "refused"})
	must(err)
	info, err := c.Shipping.Return(ctx, subjects.ShipmentRequest{ShipmentID: shipment})
	must(err)
	fmt.Println(info.Status)
	// Output: returned
}

func ExampleShipping_Split() {
	ctx, c := till()
	shipment := planned(ctx, c, "split-1", home)
	info, err := c.Shipping.Split(ctx, subjects.ShipmentRequest{ShipmentID: shipment, Lines: []subjects.StockLine{{SKU: "espresso", Quantity: 1}}})
	must(err)
	fmt.Println(info.Lines[0].Quantity)
	// Output: 1
}
