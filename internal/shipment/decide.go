package shipment

import (
	"cmp"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// Decide says which event follows from a command. (nil, nil) means that it has already happened and the stored state is
// the answer: the shipment has the status that the command leads to; booked by the same carrier; planned with the same content.
//
// Errors: not_found for a shipment that does not exist; failed_precondition for a transition that the table forbids, or that
// its fulfilment does; already_exists for a shipment planned, or booked, with other content; invalid_argument for a command
// that makes no sense in any state.
func Decide(s State, c Command) (Event, error) {
	switch c := c.(type) {
	case nil:
		return nil, fault.New(fault.Internal, "no command was given")
	case Plan:
		return plan(s, c)
	case Book:
		if s.Status == StatusBooked && (s.Carrier != c.Carrier || s.Tracking != c.Tracking) {
			return nil, fault.New(fault.AlreadyExists, "the shipment is booked already, with carrier %.40q and tracking %.40q", s.Carrier, s.Tracking)
		}
	}
	to := c.target()
	if s.Status == to {
		return nil, nil
	}
	if !Allowed(s.Status, to) {
		return nil, refuse(s.Status, to)
	}
	switch c := c.(type) {
	case Book:
		if s.Fulfilment != Ship {
			return nil, wrongWay(s.Status, to, s.Fulfilment)
		}
		return Booked{Carrier: c.Carrier, Tracking: c.Tracking, At: c.At}, nil
	case Prepare:
		if s.Fulfilment != Pickup {
			return nil, wrongWay(s.Status, to, s.Fulfilment)
		}
		return Preparing{At: c.At}, nil
	case Ready:
		return BecameReady{At: c.At}, nil
	case Dispatch:
		return Dispatched{Carrier: cmp.Or(c.Carrier, s.Carrier), Tracking: cmp.Or(c.Tracking, s.Tracking), At: c.At}, nil
	case Deliver:
		return Delivered{At: c.At}, nil
	case Fail:
		return DeliveryFailed{Reason: c.Reason, At: c.At}, nil
	case Return:
		return Returned{Reason: c.Reason, At: c.At}, nil
	case Cancel:
		return Cancelled{Reason: c.Reason, At: c.At}, nil
	}
	return nil, fault.New(fault.Internal, "a shipment knows no command %T", c)
}

func plan(s State, c Plan) (Event, error) {
	if s.Status != "" {
		// Once it was split its lines are no longer those of the plan, and what the plan was is not known any more.
		if s.OrderID == c.OrderID && s.Fulfilment == c.Fulfilment && (len(s.Children) > 0 || slices.Equal(s.Lines, c.Lines)) {
			return nil, nil
		}
		return nil, fault.New(fault.AlreadyExists, "the shipment %s was planned with other content", s.ShipmentID).WithField("shipment_id")
	}
	if err := id.CheckDerived("shipment_id", c.ShipmentID); err != nil {
		return nil, err
	}
	if c.Fulfilment != Ship && c.Fulfilment != Pickup {
		return nil, fault.Invalid("fulfilment", "fulfilment is %s or %s", Ship, Pickup)
	}
	if err := check(c.Lines); err != nil {
		return nil, err
	}
	if _, err := sum(c.Lines); err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the amounts of the lines can't be summed up").WithField("lines")
	}
	return Planned{ShipmentID: c.ShipmentID, OrderID: c.OrderID, Fulfilment: c.Fulfilment, Lines: slices.Clone(c.Lines), At: c.At}, nil
}

// DecideSplit says which events follow from a split, the parent's and the child's, which must be recorded together or not
// at all. (nil, nil, nil) means that the split of that key has already happened; parent.Split tells the child.
//
// Errors: not_found for a parent that does not exist; failed_precondition for one that is not pending, or lines that are not
// a part of it; already_exists for another split under the same key, or a NewID that is taken within the family;
// resource_exhausted over MaxSplits; invalid_argument for a command that makes no sense in any state.
func DecideSplit(parent State, c Split) (parentEvent, childEvent Event, err error) {
	if known, ok := parent.Split(c.Key); ok {
		if sameUnits(known.Lines, c.Lines) {
			return nil, nil, nil
		}
		return nil, nil, fault.New(fault.AlreadyExists, "the idempotency key %.40q was used for a split of other lines", c.Key)
	}
	if err := id.CheckDerived("shipment_id", c.NewID); err != nil {
		return nil, nil, err
	}
	switch {
	case parent.Status == "":
		return nil, nil, refuse(parent.Status, StatusPending)
	case parent.Status != StatusPending:
		return nil, nil, fault.New(fault.FailedPrecondition, "the shipment is %s and cannot be split, as a %s one can", parent.Status, StatusPending)
	case len(parent.Children) >= MaxSplits:
		return nil, nil, fault.New(fault.ResourceExhausted, "a shipment can be split %d times; split one of its parts", MaxSplits)
	case c.NewID == parent.ShipmentID || c.NewID == parent.Parent || slices.Contains(parent.Children, c.NewID):
		return nil, nil, fault.New(fault.AlreadyExists, "there is a shipment %s already", c.NewID)
	}
	rest, part, err := divide(parent.Lines, c.Lines)
	if err != nil {
		return nil, nil, err
	}
	return Planned{ShipmentID: parent.ShipmentID, OrderID: parent.OrderID, Fulfilment: parent.Fulfilment, Lines: rest,
			SplitInto: c.NewID, Key: c.Key, At: c.At},
		Planned{ShipmentID: c.NewID, OrderID: parent.OrderID, Fulfilment: parent.Fulfilment, Lines: part,
			SplitFrom: parent.ShipmentID, At: c.At},
		nil
}

// sameUnits reports whether asked, whose SKUs may repeat, is the units of lines.
func sameUnits(lines, asked []Line) bool {
	left := make(map[id.SKU]int64, len(lines))
	for _, l := range lines {
		left[l.SKU] = l.Quantity
	}
	for _, a := range asked {
		if left[a.SKU] -= a.Quantity; a.Quantity < 1 || left[a.SKU] < 0 {
			return false
		}
		if left[a.SKU] == 0 {
			delete(left, a.SKU)
		}
	}
	return len(left) == 0
}

func refuse(from, to Status) error {
	if from == "" {
		return fault.New(fault.NotFound, "there is no such shipment")
	}
	return fault.New(fault.FailedPrecondition, "the shipment is %s and cannot become %s", from, to)
}

func wrongWay(from, to Status, f Fulfilment) error {
	return fault.New(fault.FailedPrecondition, "the shipment is %s and cannot become %s: its fulfilment is %s", from, to, f)
}
