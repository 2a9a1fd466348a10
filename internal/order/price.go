package order

import (
	"errors"
	"fmt"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
)

// The bounds of an order's lines.
const (
	MaxLines    = 200
	MaxQuantity = 1_000_000
)

// Line is a quantity of one SKU at the price of the moment of ordering.
type Line struct {
	SKU       id.SKU      `json:"sku"`
	Name      string      `json:"name"`
	Quantity  int64       `json:"quantity"`
	UnitPrice money.Money `json:"unit_price"`  // net
	TaxRateBP int64       `json:"tax_rate_bp"` // hundredths of a percent, added to the price
	Total     money.Money `json:"total"`       // net: UnitPrice · Quantity
}

// TaxAmount is the line's tax, rounded once, half away from zero. Errors: money.ErrOverflow.
func (l Line) TaxAmount() (money.Money, error) { return l.Total.Tax(l.TaxRateBP) }

// Gross is the line's total with its tax. Errors: money.ErrOverflow.
func (l Line) Gross() (money.Money, error) {
	tax, err := l.TaxAmount()
	if err != nil {
		return money.Money{}, err
	}
	return l.Total.Add(tax)
}

// Price fills in each line's Total and sums the order up. The lines given stay as they are. A SKU may stand in one line
// only: who sums up after pricing would round the tax twice.
//
// Errors: invalid_argument for no lines, too many, a SKU that is there twice, a quantity or rate out of bounds or an amount
// of 2^53 and more; failed_precondition for a price that is no amount, or lines of different currencies. Field names the line.
func Price(lines []Line) (priced []Line, subtotal, tax, total money.Money, err error) {
	none := money.Money{}
	if len(lines) == 0 || len(lines) > MaxLines {
		return nil, none, none, none, fault.Invalid("lines", "an order has 1 to %d lines, not %d", MaxLines, len(lines))
	}
	currency := lines[0].UnitPrice.Currency
	subtotal, tax = money.Zero(currency), money.Zero(currency)
	priced = slices.Clone(lines)
	for i := range priced {
		l := &priced[i]
		if err := l.check(i, currency); err != nil {
			return nil, none, none, none, err
		}
		if slices.ContainsFunc(priced[:i], func(o Line) bool { return o.SKU == l.SKU }) {
			return nil, none, none, none, fault.Invalid(field(i, "sku"), "the SKU %s is in two lines; sum them up first", l.SKU)
		}
		var lineTax money.Money
		var errs [4]error
		l.Total, errs[0] = l.UnitPrice.Times(l.Quantity)
		lineTax, errs[1] = l.TaxAmount()
		subtotal, errs[2] = subtotal.Add(l.Total)
		tax, errs[3] = tax.Add(lineTax)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, none, none, none, tooMuch(field(i, "quantity"), err)
		}
	}
	if total, err = subtotal.Add(tax); err != nil {
		return nil, none, none, none, tooMuch("lines", err)
	}
	return priced, subtotal, tax, total, nil
}

func (l *Line) check(i int, currency money.Currency) error {
	switch {
	case l.Quantity < 1 || l.Quantity > MaxQuantity:
		return fault.Invalid(field(i, "quantity"), "a quantity is 1 to %d, not %d", MaxQuantity, l.Quantity)
	case l.TaxRateBP < 0:
		return fault.Invalid(field(i, "tax_rate_bp"), "a tax rate is not negative, as %d is", l.TaxRateBP)
	case !l.UnitPrice.Valid() || l.UnitPrice.Amount < 0:
		return fault.New(fault.FailedPrecondition, "the SKU %s has no valid price; correct it in the catalog", l.SKU).WithField(field(i, "sku"))
	case l.UnitPrice.Currency != currency:
		return fault.New(fault.FailedPrecondition, "the SKU %s is priced in %s and the ones before it in %s; order them apart",
			l.SKU, l.UnitPrice.Currency, currency).WithField(field(i, "sku"))
	}
	return nil
}

func tooMuch(field string, cause error) error {
	return fault.Wrap(cause, fault.InvalidArgument, "the order's amount is too large; split the order").WithField(field)
}

func field(i int, name string) string { return fmt.Sprintf("lines[%d].%s", i, name) }
