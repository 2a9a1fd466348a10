package inventory

import (
	"crypto/sha256"

	"waybill/internal/id"
)

// references remembers every reference that stock was ever received or adjusted under. They are kept for good, so they are
// kept small: 16 bytes of a SHA-256, which no two references share, and what happened under it in 4 bytes.
type references map[[16]byte]movement

// movement is the quantity of a Received or Adjusted, and which of them it was in the lowest bit.
type movement int32

func received(quantity int64) movement { return movement(quantity << 1) }
func adjusted(quantity int64) movement { return movement(quantity<<1 | 1) }

// referenceKey hashes the pair. No id holds a NUL, so no two pairs are the same bytes.
func referenceKey(sku id.SKU, reference id.Reference) [16]byte {
	var buf [2*id.MaxDerived + 1]byte
	b := append(append(append(buf[:0], sku...), 0), reference...)
	h := sha256.Sum256(b)
	return [16]byte(h[:16])
}
