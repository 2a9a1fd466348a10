// Package id holds the types of the program's identifiers and the one rule that they obey: they become tokens of NATS
// subjects, keys of etcd and names in logs, so their characters are few and their length is bounded.
package id

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"

	"waybill/internal/fault"
)

// MaxChosen and MaxDerived bound an id's length in bytes: where a caller chooses it, and where the program derives it.
const (
	MaxChosen  = 48
	MaxDerived = 64
)

// The kinds of id. A Capture, a Refund and a Reference are unique within their payment or SKU, the others within a site.
type (
	Order        string
	Customer     string
	SKU          string
	Payment      string
	Capture      string
	Refund       string
	Reservation  string
	Shipment     string
	Notification string
	Webhook      string
	Reference    string
)

// Valid reports whether s is 1 to max bytes of A–Z, a–z, 0–9, underscore and hyphen.
func Valid(s string, max int) bool {
	if len(s) == 0 || len(s) > max {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Check returns an invalid_argument that names field unless s is an id that a caller may choose.
func Check[T ~string](field string, s T) error { return check(field, string(s), MaxChosen) }

// CheckDerived is Check for an id that the program may have derived itself.
func CheckDerived[T ~string](field string, s T) error { return check(field, string(s), MaxDerived) }

func check(field, s string, max int) error {
	switch {
	case s == "":
		return fault.Invalid(field, "%s is missing", field)
	case !Valid(s, max):
		return fault.Invalid(field, "%s must be 1 to %d characters of A-Z, a-z, 0-9, _ and -", field, max)
	}
	return nil
}

// The ids that follow from an order's. They are at most MaxDerived long because an order's id is at most MaxChosen.

// PaymentOf is the id of the order's only payment.
func PaymentOf(o Order) Payment { return Payment(o + "-pay") }

// ReservationOf is the id of the order's only reservation.
func ReservationOf(o Order) Reservation { return Reservation(o + ofReservation) }

// OrderOf is the order whose reservation would bear the id, if any would.
func OrderOf(r Reservation) (Order, bool) {
	o, found := strings.CutSuffix(string(r), ofReservation)
	return Order(o), found && Valid(o, MaxChosen)
}

const ofReservation = "-res"

// ShipmentOf is the id of the order's n-th shipment, counted from 1.
func ShipmentOf(o Order, n int) Shipment { return Shipment(string(o) + "-s" + strconv.Itoa(n)) }

// NotificationOf is the id of the message that tells the customer of the named event of an order, or of one of its parts.
func NotificationOf(subject, event string) Notification { return Notification(subject + "-" + event) }

// NotificationAgain is the id of the message that tells of an event which has happened to the same before, such as a second
// dispatch: it follows from the event's sequence in the journal.
func NotificationAgain(subject, event string, sequence uint64) Notification {
	n := subject + "-" + event + "-" + strconv.FormatUint(sequence, 36)
	if len(n) > MaxDerived {
		sum := sha256.Sum256([]byte(n))
		n = "n-" + hex.EncodeToString(sum[:16])
	}
	return Notification(n)
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// New returns 26 random characters (128 bits of crypto/rand), fit as an id of any kind.
func New() string {
	var b [16]byte
	rand.Read(b[:])
	return base32Lower.EncodeToString(b[:])
}

// NewEvent returns a globally unique event id: 32 hexadecimal digits of crypto/rand.
func NewEvent() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
