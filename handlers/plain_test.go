package handlers

import (
	"testing"

	"waybill/internal/inventory"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/quick/quicktest"
	"waybill/internal/shipment"
	"waybill/subjects"
)

// TestPlain: events, states, and the requests and replies on the way of an order are written and read without the codec.
func TestPlain(t *testing.T) {
	quicktest.Compare(t,
		order.State{}, order.Placed{}, order.Confirmed{}, order.Rejected{}, order.NeedsAction{}, order.Resumed{}, order.Fulfilling{}, order.Completed{},
		order.Cancelling{}, order.Cancelled{}, order.Expired{},
		payment.State{}, payment.Created{}, payment.Processing{}, payment.Authorized{}, payment.Capturing{}, payment.Captured{}, payment.CaptureDropped{},
		payment.Voiding{}, payment.Voided{}, payment.Expired{}, payment.Failed{}, payment.Unknown{}, payment.RequiresAction{}, payment.AcceptedOffline{},
		payment.DeclinedAfterAcceptance{}, payment.RefundState{}, payment.RefundPending{}, payment.RefundSettled{}, payment.RefundFailed{}, payment.RefundReversed{},
		inventory.Stock{}, inventory.Reservation{}, inventory.Received{}, inventory.Adjusted{}, inventory.Held{}, inventory.Extended{}, inventory.Committed{},
		inventory.Released{}, inventory.Expired{}, inventory.Consumed{},
		shipment.State{}, shipment.Planned{}, shipment.Booked{}, shipment.Preparing{}, shipment.BecameReady{}, shipment.Dispatched{}, shipment.DeliveryFailed{},
		shipment.Delivered{}, shipment.Returned{}, shipment.Cancelled{},
		personal{}, notice{}, noticeEvent{}, webhook{}, claim{}, subjects.Item{},
		subjects.PlaceRequest{}, subjects.OrderInfo{}, subjects.GetOrderRequest{}, subjects.CancelRequest{}, subjects.OrderRequest{}, subjects.Orders{}, subjects.SKURequest{},
		subjects.ReserveRequest{}, subjects.Reservation{}, subjects.ReservationRequest{}, subjects.ConsumeRequest{}, subjects.EndRequest{}, subjects.Stock{}, subjects.ReceiveRequest{},
		subjects.AuthorizeRequest{}, subjects.PaymentInfo{}, subjects.CaptureRequest{}, subjects.RefundRequest{}, subjects.PaymentRequest{}, subjects.SettleRequest{},
		subjects.ShipmentRequest{}, subjects.ShipmentInfo{}, subjects.NotificationInfo{},
	)
}
