package view

import (
	"database/sql"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Event is what the view needs of a record of the journal.
type Event struct {
	Sequence uint64         // its place in the journal
	Kind     subjects.Kind  // the aggregate's kind
	ID       string         // the aggregate's id
	EventID  string         // the event's ce-id, needed of the last one in a batch alone
	State    jsontext.Value // the whole aggregate after the event, needed of its last one in a batch alone; not kept beyond Apply
}

// columns is what the tables hold of a state beside its bytes.
type columns struct {
	status string
	due    sql.NullInt64
	order  string // of a payment, shipment or notification: the order that it is a part of

	// Of orders alone:
	customer string
	created  int64
	payment  string
	text     []byte
}

// partial is what the view reads of any state; what it does not name is skipped.
type partial struct {
	Status  string         `json:"status"`
	OrderID string         `json:"order_id"`
	DueAt   timestamp.Time `json:"due_at"`
	Deleted bool           `json:"deleted"`
}

// partialOrder is what the view reads of an order's state.
type partialOrder struct {
	Status     string         `json:"status"`
	CustomerID string         `json:"customer_id"`
	PaymentID  string         `json:"payment_id"`
	CreatedAt  timestamp.Time `json:"created_at"`
	DueAt      timestamp.Time `json:"due_at"`
	Lines      []struct {
		SKU  string `json:"sku"`
		Name string `json:"name"`
	} `json:"lines"`
}

// read takes the columns out of e's state. Error: internal, naming the event, when the state is not JSON of the right shape.
func (t table) read(e *Event) (c columns, err error) {
	switch t.kind {
	case subjects.KindOrder:
		var p partialOrder
		if err = decode(e, &p); err != nil {
			return c, err
		}
		c.status, c.customer, c.payment, c.created = p.Status, p.CustomerID, p.PaymentID, millis(p.CreatedAt)
		c.due, c.text = due(p.DueAt), searchText(e.ID, &p)
	case subjects.KindCatalog:
		// Its list goes by SKU, which is the aggregate's id.
	default:
		var p partial
		if err = decode(e, &p); err != nil {
			return c, err
		}
		c.status, c.order = p.Status, p.OrderID
		if p.Deleted {
			c.status = deleted
		}
		if t.due {
			c.due = due(p.DueAt)
		}
	}
	return c, nil
}

// deleted is the status of a row that lists leave out.
const deleted = "deleted"

// decode reads e's state into a value that is zero.
func decode(e *Event, into any) error {
	if quick.ReadKnown(e.State, into) {
		return nil
	}
	// The journal's own writer made the state: what a stricter reading would find, it could not mend.
	err := json.Unmarshal(e.State, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fault.Wrap(err, fault.Internal, "event %d (%s %s) has a state that the lists can't read", e.Sequence, e.Kind, e.ID)
	}
	return nil
}

func due(t timestamp.Time) sql.NullInt64 { return sql.NullInt64{Int64: millis(t), Valid: !t.IsZero()} }

// millis is t in milliseconds since 1970; 0 for the zero Time.
func millis(t timestamp.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Std().UnixMilli()
}

// separator stands between the texts of an order that a search looks into, so that nothing matches across two of them.
const separator = '\x00'

// searchText is the order's and the customer's id, the SKUs and the items' names in lower case. Nothing personal is in it.
func searchText(order string, p *partialOrder) []byte {
	b := make([]byte, 0, 256)
	b = append(b, strings.ToLower(order)...)
	b = append(b, separator)
	b = append(b, strings.ToLower(p.CustomerID)...)
	for i := range p.Lines {
		b = append(b, separator)
		b = append(b, strings.ToLower(p.Lines[i].SKU)...)
		b = append(b, separator)
		b = append(b, strings.ToLower(p.Lines[i].Name)...)
	}
	return b
}
