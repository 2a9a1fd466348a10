package inventory

import (
	"cmp"
	"fmt"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// The bounds of a request: its lines, and the quantity of one SKU in it.
const (
	MaxLines    = 200
	MaxQuantity = 1_000_000
)

// Line is a number of units of one SKU.
type Line struct {
	SKU      id.SKU `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// Sum returns the lines summed per SKU and sorted by SKU, which is the form in which the Book keeps and compares them.
// Error: invalid_argument, naming the field, for no or too many lines, a bad SKU, or a quantity or sum out of bounds.
func Sum(lines []Line) ([]Line, error) {
	if len(lines) == 0 || len(lines) > MaxLines {
		return nil, fault.Invalid("lines", "there must be 1 to %d lines, not %d", MaxLines, len(lines))
	}
	for i, l := range lines {
		if err := id.Check("sku", l.SKU); err != nil {
			return nil, fault.From(err).WithField(field(i, "sku"))
		}
		if l.Quantity < 1 || l.Quantity > MaxQuantity {
			return nil, fault.Invalid(field(i, "quantity"), "a quantity is 1 to %d, not %d", MaxQuantity, l.Quantity)
		}
	}
	sorted := slices.SortedStableFunc(slices.Values(lines), bySKU)
	sum := sorted[:1]
	for _, l := range sorted[1:] {
		last := &sum[len(sum)-1]
		if l.SKU != last.SKU {
			sum = append(sum, l)
			continue
		}
		if last.Quantity += l.Quantity; last.Quantity > MaxQuantity {
			i := slices.IndexFunc(lines, func(o Line) bool { return o.SKU == l.SKU })
			return nil, fault.Invalid(field(i, "quantity"), "the quantity of %s in all lines is more than %d", l.SKU, MaxQuantity)
		}
	}
	return sum, nil
}

func bySKU(a, b Line) int { return cmp.Compare(a.SKU, b.SKU) }

func field(i int, name string) string { return fmt.Sprintf("lines[%d].%s", i, name) }

// subtract is from less the lines of part, without the SKUs of which nothing is left. Both are summed and sorted.
func subtract(from, part []Line) []Line {
	left := make([]Line, 0, len(from))
	for _, l := range from {
		l.Quantity -= quantity(part, l.SKU)
		if l.Quantity > 0 {
			left = append(left, l)
		}
	}
	return left
}

// quantity is that of the SKU in lines, which are summed and sorted; 0 where it is not in them.
func quantity(lines []Line, sku id.SKU) int64 {
	if i, ok := slices.BinarySearchFunc(lines, sku, func(l Line, s id.SKU) int { return cmp.Compare(l.SKU, s) }); ok {
		return lines[i].Quantity
	}
	return 0
}

// summed reports whether lines are what Sum returns.
func summed(lines []Line) bool {
	for i, l := range lines {
		if l.Quantity < 1 || l.Quantity > MaxQuantity || i > 0 && lines[i-1].SKU >= l.SKU {
			return false
		}
	}
	return len(lines) > 0
}
