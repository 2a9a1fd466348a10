package shipment

import (
	"fmt"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
)

// The bounds of a shipment's lines.
const (
	MaxLines    = 200
	MaxQuantity = 1_000_000
)

func field(i int, name string) string { return fmt.Sprintf("lines[%d].%s", i, name) }

// check is the error of a plan that is no plan: a SKU may stand in one line only.
func check(lines []Line) error {
	if len(lines) == 0 || len(lines) > MaxLines {
		return fault.Invalid("lines", "a shipment has 1 to %d lines, not %d", MaxLines, len(lines))
	}
	for i, l := range lines {
		switch {
		case l.Quantity < 1 || l.Quantity > MaxQuantity:
			return fault.Invalid(field(i, "quantity"), "a quantity is 1 to %d, not %d", MaxQuantity, l.Quantity)
		case find(lines[:i], l.SKU) >= 0:
			return fault.Invalid(field(i, "sku"), "the SKU %s is in two lines; sum them up first", l.SKU)
		case !l.Amount.Valid() || l.Amount.Amount < 0:
			return fault.Invalid(field(i, "amount"), "the amount of a line is not negative and in a known currency")
		}
	}
	return nil
}

func find(lines []Line, sku id.SKU) int {
	return slices.IndexFunc(lines, func(l Line) bool { return l.SKU == sku })
}

// sum is Σ Line.Amount. Errors: money.ErrCurrency, money.ErrOverflow.
func sum(lines []Line) (total money.Money, err error) {
	for _, l := range lines {
		if total, err = total.Add(l.Amount); err != nil {
			return money.Money{}, err
		}
	}
	return total, nil
}

// divide takes the units asked for, whose SKUs may repeat and whose amounts don't count, out of lines. Of each line's
// amount the part takes its share rounded down and the rest keeps what is over, so that nothing is lost or made.
// Errors: invalid_argument for no lines or a bad quantity; failed_precondition for more than there is, or all there is.
func divide(lines, asked []Line) (rest, part []Line, err error) {
	if len(asked) == 0 || len(asked) > MaxLines {
		return nil, nil, fault.Invalid("lines", "a split takes 1 to %d lines, not %d", MaxLines, len(asked))
	}
	take := make([]int64, len(lines))
	for i, a := range asked {
		if a.Quantity < 1 || a.Quantity > MaxQuantity {
			return nil, nil, fault.Invalid(field(i, "quantity"), "a quantity is 1 to %d, not %d", MaxQuantity, a.Quantity)
		}
		at := find(lines, a.SKU)
		if at < 0 {
			return nil, nil, fault.New(fault.FailedPrecondition, "the shipment has no %s", a.SKU).WithField(field(i, "sku"))
		}
		if take[at] += a.Quantity; take[at] > lines[at].Quantity {
			return nil, nil, fault.New(fault.FailedPrecondition, "the shipment has %d of %s, not %d", lines[at].Quantity, a.SKU, take[at]).
				WithField(field(i, "quantity"))
		}
	}
	for i, l := range lines {
		p := Line{SKU: l.SKU, Quantity: take[i]}
		if p.Amount, err = l.Amount.Share(take[i], l.Quantity); err != nil {
			return nil, nil, fault.Wrap(err, fault.Internal, "the shipment's amount of %s can't be divided", l.SKU)
		}
		l.Quantity -= p.Quantity
		l.Amount.Amount -= p.Amount.Amount
		if p.Quantity > 0 {
			part = append(part, p)
		}
		if l.Quantity > 0 {
			rest = append(rest, l)
		}
	}
	if len(rest) == 0 {
		return nil, nil, fault.New(fault.FailedPrecondition, "a split must leave something in the shipment").WithField("lines")
	}
	return rest, part, nil
}
