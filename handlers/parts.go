package handlers

import (
	"context"
	"slices"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/quick"
	"waybill/internal/shipment"
	"waybill/internal/view"
	"waybill/subjects"
)

// parts is what belongs to an order beside itself, as the journal has it at one moment.
type parts struct {
	payment   held[payment.State]
	refunds   held[payment.RefundState]
	shipments []held[shipment.State] // in the order of their making
}

// loadParts reads an order's payment, refunds and shipments by their derived names: one batch get, and one more for each
// generation of split shipments.
func loadParts(ctx context.Context, j *journal.Journal, site subjects.Site, o id.Order) (parts, error) {
	var p parts
	pay := subjects.Event(site, subjects.KindPayment, id.PaymentOf(o))
	refund := subjects.Event(site, subjects.KindRefund, id.PaymentOf(o))
	first := id.ShipmentOf(o, 1)
	records, err := j.LoadMany(ctx, []string{pay, refund, subjects.Event(site, subjects.KindShipment, first)})
	if err != nil {
		return p, err
	}
	if r, ok := records[pay]; ok {
		if p.payment, err = hold[payment.State](r); err != nil {
			return p, err
		}
	}
	if r, ok := records[refund]; ok {
		if p.refunds, err = hold[payment.RefundState](r); err != nil {
			return p, err
		}
	}
	p.shipments, err = loadSplits(ctx, j, site, []id.Shipment{first}, records)
	return p, err
}

// loadShipments reads the shipments of an order.
func loadShipments(ctx context.Context, j *journal.Journal, site subjects.Site, o id.Order) ([]held[shipment.State], error) {
	first := id.ShipmentOf(o, 1)
	records, err := j.LoadMany(ctx, []string{subjects.Event(site, subjects.KindShipment, first)})
	if err != nil {
		return nil, err
	}
	return loadSplits(ctx, j, site, []id.Shipment{first}, records)
}

// loadSplits follows shipments to those that were split off from them.
func loadSplits(ctx context.Context, j *journal.Journal, site subjects.Site, ids []id.Shipment, records map[string]journal.Record) ([]held[shipment.State], error) {
	var out []held[shipment.State]
	for len(ids) > 0 {
		var children []id.Shipment
		for _, s := range ids {
			r, ok := records[subjects.Event(site, subjects.KindShipment, s)]
			if !ok {
				continue
			}
			h, err := hold[shipment.State](r)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
			children = append(children, h.state.Children...)
		}
		if ids = children; len(ids) == 0 {
			break
		}
		names := make([]string, len(ids))
		for i, s := range ids {
			names[i] = subjects.Event(site, subjects.KindShipment, s)
		}
		var err error
		if records, err = j.LoadMany(ctx, names); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b held[shipment.State]) int {
		if c := len(a.state.ShipmentID) - len(b.state.ShipmentID); c != 0 {
			return c // the ids of one order differ in their number alone: shorter is earlier
		}
		if a.state.ShipmentID < b.state.ShipmentID {
			return -1
		}
		return 1
	})
	return out, nil
}

func stockLines(lines []order.Line) []subjects.StockLine {
	out := make([]subjects.StockLine, len(lines))
	for i, l := range lines {
		out[i] = subjects.StockLine{SKU: l.SKU, Quantity: l.Quantity}
	}
	return out
}

func paymentInfo(s payment.State, r payment.RefundState) *subjects.PaymentInfo {
	out := &subjects.PaymentInfo{
		PaymentID: s.PaymentID, OrderID: s.OrderID, Method: subjects.Method(s.Method), Status: s.Status,
		Amount: s.Amount, Authorized: s.Authorized, Captured: s.Captured, Refunded: r.Refunded, DeclineCode: s.DeclineCode, Action: s.Action,
	}
	for _, m := range []*subjects.Money{&out.Authorized, &out.Captured, &out.Refunded} {
		if m.IsZero() {
			m.Currency = s.Amount.Currency
		}
	}
	return out
}

func shipmentInfo(s shipment.State) subjects.ShipmentInfo {
	out := subjects.ShipmentInfo{
		ShipmentID: s.ShipmentID, OrderID: s.OrderID, Status: s.Status, Carrier: s.Carrier,
		Tracking: s.Tracking, Reason: s.Reason, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
		Lines: make([]subjects.StockLine, len(s.Lines)),
	}
	for i, l := range s.Lines {
		out.Lines[i] = subjects.StockLine{SKU: l.SKU, Quantity: l.Quantity}
	}
	return out
}

// decodeAll decodes rows of a read model.
func decodeAll[T any](rows []view.Row) ([]T, error) {
	out := make([]T, len(rows))
	for i, row := range rows {
		if err := quick.Unmarshal(row.State, &out[i]); err != nil {
			return nil, unreadable(err)
		}
	}
	return out, nil
}
