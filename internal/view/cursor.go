package view

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"

	"waybill/internal/fault"
)

// DefaultLimit and MaxLimit are the length of a page where the caller asks for none, and at most.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// A cursor says after which row the next page begins. It holds the row's number or id, which never change, so a page never
// skips or repeats a row because others came in meanwhile, and it stays good over a restart and a rebuild. A checksum binds it
// to its list and filter: it guards against mistakes, there is nothing to gain by forging one.

// listing names a list with its filter; a cursor of one is refused by another.
func listing(name string, filter ...string) string {
	return name + "\x00" + strings.Join(filter, "\x00")
}

func encodeCursor(listing string, after []byte) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(after)), checksum(listing, after))
	return base64.RawURLEncoding.EncodeToString(append(b, after...))
}

func decodeCursor(listing, cursor string) (after []byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 5 || cursor != encodeCursor(listing, b[4:]) {
		return nil, fault.Invalid("cursor", "the cursor is not one of this list with this filter; ask for the first page without a cursor")
	}
	return b[4:], nil
}

func checksum(listing string, after []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte(listing)), crc32.IEEETable, append([]byte{0}, after...))
}

// below is the number that the rows of a page newest first must be below: the cursor's, or above all.
func below(listing, cursor string) (int64, error) {
	if cursor == "" {
		return math.MaxInt64, nil
	}
	after, err := decodeCursor(listing, cursor)
	if err != nil {
		return 0, err
	}
	n, read := binary.Uvarint(after)
	if read != len(after) || n > math.MaxInt64 {
		return 0, fault.Invalid("cursor", "the cursor is not one of this list; ask for the first page without a cursor")
	}
	return int64(n), nil
}

func cursorBelow(listing string, num int64) string {
	return encodeCursor(listing, binary.AppendUvarint(nil, uint64(num)))
}

// pageLimit is the number of rows of a page.
func pageLimit(limit int) (int, error) {
	switch {
	case limit == 0:
		return DefaultLimit, nil
	case limit < 0 || limit > MaxLimit:
		return 0, fault.Invalid("limit", "limit must be 1 to %d", MaxLimit)
	}
	return limit, nil
}
