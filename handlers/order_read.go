package handlers

import (
	"context"
	"errors"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/quick"
	"waybill/internal/shipment"
	"waybill/internal/vault"
	"waybill/internal/view"
	"waybill/subjects"
)

func (o *Orders) get(ctx context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
	h, err := o.orders.load(ctx, string(r.OrderID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, noOrder(r.OrderID)
	}
	return o.info(ctx, h, nil)
}

func noOrder(o id.Order) error {
	return fault.New(fault.NotFound, "there is no order %s", o).WithField("order_id")
}

// info tells of an order with its payment and shipments, straight from the journal. known is the payment where the caller has
// just heard of it; shipments are planned after confirmation, so an order that is not there yet has none.
func (o *Orders) info(ctx context.Context, h held[order.State], known *subjects.PaymentInfo) (*subjects.OrderInfo, error) {
	out, err := o.describe(ctx, h.state, h.last.Sequence)
	if err != nil {
		return nil, err
	}
	out.Payment = known
	if known != nil {
		return out, nil
	}
	parts, err := loadParts(ctx, o.journal, o.site, h.state.OrderID)
	if err != nil {
		return nil, err
	}
	if parts.payment.exists() {
		out.Payment = paymentInfo(parts.payment.state, parts.refunds.state)
	}
	for _, s := range parts.shipments {
		out.Shipments = append(out.Shipments, shipmentInfo(s.state))
	}
	return out, nil
}

// describe is the order without its parts, its personal data opened.
func (o *Orders) describe(ctx context.Context, s order.State, revision uint64) (*subjects.OrderInfo, error) {
	out := &subjects.OrderInfo{
		OrderID: s.OrderID, Site: o.site, Status: s.Status, CustomerID: s.CustomerID,
		Lines: make([]subjects.Line, len(s.Lines)), Subtotal: s.Subtotal, Tax: s.Tax, Total: s.Total,
		Fulfilment: subjects.Fulfilment(s.Fulfilment), Shipments: []subjects.ShipmentInfo{},
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Revision: revision,
	}
	for i, l := range s.Lines {
		out.Lines[i] = subjects.Line(l)
	}
	if s.Reason != nil {
		out.Reason = &subjects.Reason{Code: s.Reason.Code, Message: s.Reason.Message}
	}
	if len(s.Sealed) == 0 {
		return out, nil
	}
	plain, err := o.vault.OpenPersonal(ctx, s.CustomerID, s.Sealed)
	if errors.Is(err, vault.ErrErased) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	var p personal
	if err := quick.Unmarshal(plain, &p); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the personal data of order %s can't be read", s.OrderID)
	}
	out.Email, out.ShipTo = p.Email, p.ShipTo
	return out, nil
}

func (o *Orders) list(ctx context.Context, r *subjects.ListOrdersRequest) (*subjects.Orders, error) {
	v, err := o.lists.fresh(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := v.Orders(ctx, view.OrderFilter{
		Status: string(r.Status), CustomerID: string(r.CustomerID), Text: r.Text, Since: r.Since, Until: r.Until,
		Limit: r.Size(), Cursor: r.Cursor,
	})
	if err != nil {
		return nil, err
	}
	out := &subjects.Orders{Orders: make([]subjects.OrderInfo, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		info, err := o.row(ctx, row)
		if err != nil {
			return nil, err
		}
		out.Orders = append(out.Orders, *info)
	}
	return out, nil
}

// row is the order of a row of the view.
func (o *Orders) row(ctx context.Context, row view.OrderRow) (*subjects.OrderInfo, error) {
	var s order.State
	if err := quick.Unmarshal(row.Order, &s); err != nil {
		return nil, unreadable(err)
	}
	out, err := o.describe(ctx, s, row.Sequence)
	if err != nil {
		return nil, err
	}
	if len(row.Payment) > 0 {
		var p payment.State
		var refunds payment.RefundState
		if err := quick.Unmarshal(row.Payment, &p); err != nil {
			return nil, unreadable(err)
		}
		if len(row.Refunds) > 0 {
			if err := quick.Unmarshal(row.Refunds, &refunds); err != nil {
				return nil, unreadable(err)
			}
		}
		out.Payment = paymentInfo(p, refunds)
	}
	for _, raw := range row.Shipments {
		var s shipment.State
		if err := quick.Unmarshal(raw, &s); err != nil {
			return nil, unreadable(err)
		}
		out.Shipments = append(out.Shipments, shipmentInfo(s))
	}
	return out, nil
}

func unreadable(err error) error {
	return fault.Wrap(err, fault.Internal, "a row of the read models can't be read; waybill rebuild makes them anew")
}

// history tells the story of an order from the journal: one batch get on each of its subjects, merged by sequence.
func (o *Orders) history(ctx context.Context, r *subjects.OrderRequest) (*subjects.History, error) {
	h, err := o.orders.load(ctx, string(r.OrderID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, noOrder(r.OrderID)
	}
	parts, err := loadParts(ctx, o.journal, o.site, r.OrderID)
	if err != nil {
		return nil, err
	}
	names := []string{
		subjects.Event(o.site, subjects.KindOrder, r.OrderID),
		subjects.Event(o.site, subjects.KindPayment, h.state.PaymentID),
		subjects.Event(o.site, subjects.KindRefund, h.state.PaymentID),
		subjects.Event(o.site, subjects.KindReservation, h.state.ReservationID),
	}
	for _, s := range parts.shipments {
		names = append(names, subjects.Event(o.site, subjects.KindShipment, s.state.ShipmentID))
	}
	var records []journal.Record
	for _, name := range names {
		more, err := o.journal.History(ctx, name)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	slices.SortFunc(records, func(a, b journal.Record) int { return int(int64(a.Sequence) - int64(b.Sequence)) })
	out := &subjects.History{Events: make([]subjects.HistoryEvent, len(records))}
	for i, r := range records {
		out.Events[i] = subjects.HistoryEvent{Sequence: r.Sequence, Time: r.Time, Type: r.Type, Data: r.Data}
	}
	return out, nil
}
