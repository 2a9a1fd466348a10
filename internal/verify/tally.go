package verify

import (
	"hash/maphash"

	"waybill/internal/id"
)

// tally stands for a number of units of each SKU, and for their amounts, in 16 bytes. Tallies are added line by line: two sets of
// lines have the same tally if, for each SKU, they have the same units and the same amount, however these are divided into lines;
// sets that differ have the same one only by a chance of 2⁻⁶⁴.
type tally struct{ units, amount uint64 }

func (t *tally) add(seed maphash.Seed, sku id.SKU, quantity, amount int64) {
	h := maphash.String(seed, string(sku)) | 1
	t.units += h * uint64(quantity)
	t.amount += h * uint64(amount)
}

func (t *tally) merge(o tally) {
	t.units += o.units
	t.amount += o.amount
}
