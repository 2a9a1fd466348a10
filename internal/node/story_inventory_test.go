package node_test

import (
	"strings"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/subjects"
)

func TestInventory(t *testing.T) {
	s := open(t)
	stock := func(t *testing.T, sku id.SKU, onHand, reserved int64) {
		t.Helper()
		got := *call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: sku})
		if want := (subjects.Stock{SKU: sku, OnHand: onHand, Reserved: reserved, Available: onHand - reserved}); got != want {
			t.Errorf("the stock is %+v, want %+v", got, want)
		}
	}
	reserve := func(t *testing.T, r id.Reservation, ttl time.Duration, lines ...subjects.StockLine) *subjects.Reservation {
		t.Helper()
		return call(t, s.c, subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: r, Lines: lines, TTL: subjects.Duration(ttl)})
	}
	status := func(t *testing.T, got *subjects.Reservation, want subjects.ReservationStatus) {
		t.Helper()
		if got.Status != want {
			t.Errorf("the reservation is %s, want %s", got.Status, want)
		}
	}
	s.tell(t, map[string]story{
		"receive": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			r := subjects.ReceiveRequest{SKU: sku, Quantity: 5, Reference: "truck-1"}
			for range 2 {
				if got := call(t, s.c, subjects.InventoryReceive, r); got.OnHand != 15 {
					t.Errorf("on hand are %d", got.OnHand)
				}
			}
			r.Quantity = 6
			refused(t, s.c, subjects.InventoryReceive, r, subjects.AlreadyExists, "reference")
			adjust := subjects.AdjustRequest{SKU: sku, Quantity: 5, Reference: "truck-1"}
			refused(t, s.c, subjects.InventoryAdjust, adjust, subjects.AlreadyExists, "reference") // one reference is one movement, whatever sort
			stock(t, sku, 15, 0)
			refused(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: sku + "-none"}, subjects.NotFound, "sku")
		},
		"adjust": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			reserve(t, id.Reservation(sku)+"-r", 0, line(sku, 4))
			refused(t, s.c, subjects.InventoryAdjust, subjects.AdjustRequest{SKU: sku, Quantity: -7, Reference: "broken"}, subjects.FailedPrecondition, "quantity")
			stock(t, sku, 10, 4)
			for range 2 {
				if got := call(t, s.c, subjects.InventoryAdjust, subjects.AdjustRequest{SKU: sku, Quantity: -6, Reference: "broken"}); got.OnHand != 4 || got.Available != 0 {
					t.Errorf("adjusted, the stock is %+v", *got)
				}
			}
			call(t, s.c, subjects.InventoryAdjust, subjects.AdjustRequest{SKU: sku, Quantity: 3, Reference: "found"})
			stock(t, sku, 7, 4)
		},
		"all or none": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			r := subjects.ReserveRequest{ReservationID: id.Reservation(sku), Lines: []subjects.StockLine{line(sku, 10), line(sku+"-x", 1), line(sku+"-y", 2)}}
			e := refused(t, s.c, subjects.InventoryReserve, r, subjects.FailedPrecondition, "lines[1].sku")
			if !strings.Contains(e.Message, string(sku)+"-x") || !strings.Contains(e.Message, string(sku)+"-y") || strings.Contains(e.Message, string(sku)+" ") {
				t.Errorf("the message does not name what is short, and that alone: %s", e.Message)
			}
			stock(t, sku, 10, 0)
		},
		"expires": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			got := reserve(t, id.Reservation(sku), 200*time.Millisecond, line(sku, 3))
			status(t, got, "held")
			if left := time.Until(got.ExpiresAt.Std()); left <= 0 || left > 200*time.Millisecond {
				t.Errorf("it expires in %v", left)
			}
			stock(t, sku, 10, 3)
			eventually(t, "the stock is given back", func() bool {
				return call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: sku}).Reserved == 0
			})
			if time.Now().Before(got.ExpiresAt.Std()) {
				t.Error("it was given back before its time")
			}
			status(t, reserve(t, id.Reservation(sku), 0, line(sku, 3)), "expired") // the stored answer, for good
			refused(t, s.c, subjects.InventoryCommit, subjects.ReservationRequest{ReservationID: id.Reservation(sku)}, subjects.FailedPrecondition, "")
			status(t, call(t, s.c, subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: id.Reservation(sku)}), "expired")
		},
		"extended": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			r := id.Reservation(sku)
			first := reserve(t, r, 300*time.Millisecond, line(sku, 3))
			longer := call(t, s.c, subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: r, TTL: subjects.Duration(time.Hour)})
			if longer.ExpiresAt.Sub(first.ExpiresAt) < 50*time.Minute {
				t.Errorf("extended to %v from %v", longer.ExpiresAt, first.ExpiresAt)
			}
			refused(t, s.c, subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: r, TTL: subjects.Duration(time.Second)}, subjects.FailedPrecondition, "ttl")
			refused(t, s.c, subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: r}, subjects.InvalidArgument, "ttl")
			refused(t, s.c, subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: r, TTL: subjects.Duration(25 * time.Hour)}, subjects.InvalidArgument, "ttl")
			eventually(t, "its first time is over", func() bool { return time.Now().After(first.ExpiresAt.Std().Add(50 * time.Millisecond)) })
			stock(t, sku, 10, 3)
			got := call(t, s.c, subjects.InventoryCommit, subjects.ReservationRequest{ReservationID: r})
			if status(t, got, "committed"); !got.ExpiresAt.IsZero() {
				t.Errorf("committed, it still expires at %v", got.ExpiresAt)
			}
			stock(t, sku, 10, 3)
			for range 2 {
				status(t, call(t, s.c, subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: r}), "released")
			}
			stock(t, sku, 10, 0)
			status(t, reserve(t, r, time.Hour, line(sku, 3)), "released")
			refused(t, s.c, subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: r, Lines: []subjects.StockLine{line(sku, 1)}}, subjects.AlreadyExists, "reservation_id")
		},
		"consumed": func(t *testing.T, s *site, _ id.Order, sku id.SKU) {
			r := id.Reservation(sku)
			reserve(t, r, 0, line(sku, 3))
			part := subjects.ConsumeRequest{ReservationID: r, ShipmentID: "s-1", Lines: []subjects.StockLine{line(sku, 2)}}
			for range 2 {
				status(t, call(t, s.c, subjects.InventoryConsume, part), "partially_consumed")
				stock(t, sku, 8, 1)
			}
			over := part
			over.ShipmentID = "s-2"
			refused(t, s.c, subjects.InventoryConsume, over, subjects.FailedPrecondition, "lines[0].sku")
			over.ShipmentID, over.Lines = "s-1", []subjects.StockLine{line(sku, 1)}
			refused(t, s.c, subjects.InventoryConsume, over, subjects.AlreadyExists, "shipment_id")
			status(t, call(t, s.c, subjects.InventoryConsume, subjects.ConsumeRequest{ReservationID: r, ShipmentID: "s-2", Lines: over.Lines}), "consumed")
			stock(t, sku, 7, 0)
			refused(t, s.c, subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: r}, subjects.FailedPrecondition, "")
			status(t, call(t, s.c, subjects.InventoryConsume, part), "consumed")
			refused(t, s.c, subjects.InventoryConsume, subjects.ConsumeRequest{ReservationID: r + "-no", ShipmentID: "s-1", Lines: over.Lines}, subjects.NotFound, "reservation_id")
			for _, verb := range []subjects.Endpoint[subjects.ReservationRequest, subjects.Reservation]{subjects.InventoryExtend, subjects.InventoryCommit, subjects.InventoryRelease} {
				refused(t, s.c, verb, subjects.ReservationRequest{ReservationID: r + "-no", TTL: subjects.Duration(time.Hour)}, subjects.NotFound, "reservation_id")
			}
		},
	})
}
