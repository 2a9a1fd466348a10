package view

import (
	"context"
	"database/sql"
	"strings"
	"unicode/utf8"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// OrderFilter narrows a list of orders; empty fields don't. All that are given must match.
type OrderFilter struct {
	Status     string
	CustomerID string
	Text       string         // in the order's id, the customer's id, a SKU or an item's name, in any case; at most MaxText bytes
	Since      timestamp.Time // created at or after
	Until      timestamp.Time // created before
	Limit      int            // 0 for DefaultLimit
	Cursor     string         // next of the page before; empty for the first
}

// MaxText bounds the text of a search, in bytes.
const MaxText = 200

// OrderRow is an order with its parts, each the JSON of its state as the journal has it. All of a page's rows and parts are
// of one moment.
type OrderRow struct {
	OrderID         string
	Order           []byte
	Payment         []byte // of the payment that the order names; nil while there is none
	Refunds         []byte // of that payment's refunds; nil while there are none
	Shipments       [][]byte
	Created         uint64 // the sequence of the order's first event, by which the list is sorted
	Sequence        uint64 // of the order's last event
	PaymentSequence uint64 // of the payment's last event; 0 without one
	RefundsSequence uint64 // of the refunds' last event; 0 without one
}

// rare is the number of orders up to which a filter by index is followed before the text is looked at; with more of them
// it is faster to look through the texts of all.
const rare = 3000

// Orders returns a page of the orders that match, newest first by their first event, and the cursor of the next page, empty
// after the last. An order that comes in or changes between two pages neither repeats nor hides another. Errors:
// invalid_argument with the field limit, cursor or text.
func (v *View) Orders(ctx context.Context, f OrderFilter) (rows []OrderRow, next string, err error) {
	list := listing("orders", f.Status, f.CustomerID, f.Text, f.Since.String(), f.Until.String())
	limit, err := pageLimit(f.Limit)
	if err != nil {
		return nil, "", err
	}
	before, err := below(list, f.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := checkText(f.Text); err != nil {
		return nil, "", err
	}
	err = v.with(ctx, "list orders", func(s *store) error {
		byIndex := f.Status != "" || f.CustomerID != ""
		if byIndex && f.Text != "" {
			if byIndex, err = s.isRare(ctx, &f); err != nil {
				return err
			}
		}
		query, args := f.query(byIndex, before, limit+1)
		rows, err = s.orderRows(ctx, query, args)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if fit := fitting(rows); fit < len(rows) && fit < limit {
		limit = fit // the page ends early: a reply has a limit of its own
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = cursorBelow(list, int64(rows[limit-1].Created))
	}
	return rows, next, nil
}

// maxPageBytes bounds the states of a page: with what is added to them a reply stays below a megabyte.
const maxPageBytes = 600 << 10

// fitting is how many of the rows a page holds by their size; at least one.
func fitting(rows []OrderRow) int {
	size := 0
	for i, r := range rows {
		size += len(r.Order) + len(r.Payment) + len(r.Refunds)
		for _, s := range r.Shipments {
			size += len(s)
		}
		if size > maxPageBytes && i > 0 {
			return i
		}
	}
	return len(rows)
}

func checkText(text string) error {
	switch {
	case len(text) > MaxText:
		return fault.Invalid("text", "text must be at most %d bytes", MaxText)
	case !utf8.ValidString(text) || strings.ContainsRune(text, separator):
		return fault.Invalid("text", "text must be valid UTF-8 without NUL")
	}
	return nil
}

// isRare reports whether few orders have the filter's status and customer.
func (s *store) isRare(ctx context.Context, f *OrderFilter) (bool, error) {
	c := conditions{}
	f.indexed(&c)
	var n int
	err := s.readers.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM orders AS o"+c.where()+" LIMIT ?)", append(c.args, rare)...).Scan(&n)
	return n < rare, err
}

// conditions collects the parts of a WHERE with their arguments.
type conditions struct {
	texts []string
	args  []any
}

func (c *conditions) and(text string, args ...any) {
	c.texts = append(c.texts, text)
	c.args = append(c.args, args...)
}

func (c *conditions) where() string {
	if len(c.texts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.texts, " AND ")
}

// indexed adds what an index of orders answers.
func (f *OrderFilter) indexed(c *conditions) {
	if f.CustomerID != "" {
		c.and("o.owner = ?", f.CustomerID)
	}
	if f.Status != "" {
		c.and("o.status = ?", f.Status)
	}
}

// query is the statement for one page with its arguments. The inner part finds the numbers of the page's orders and touches
// no state: it runs over the orders' index where byIndex says so, else over the facts; CROSS JOIN keeps SQLite to that order.
func (f *OrderFilter) query(byIndex bool, before int64, limit int) (string, []any) {
	var c conditions
	num := "f.num"
	if byIndex {
		num = "o.num"
	}
	if f.Until.IsZero() {
		c.and(num+" < ?", before)
	}
	f.indexed(&c)
	if !f.Since.IsZero() {
		since := millis(f.Since)
		c.and(num+" >= (SELECT chunk * ? FROM spans WHERE latest >= ? ORDER BY chunk LIMIT 1)", chunk, since)
		c.and("f.created >= ?", since)
	}
	if !f.Until.IsZero() {
		until := millis(f.Until)
		// One bound, not two: SQLite seeks to a single one.
		c.and(num+" < min(?, (SELECT (chunk + 1) * ? FROM spans WHERE earliest < ? ORDER BY chunk DESC LIMIT 1))", before, chunk, until)
		c.and("f.created < ?", until)
	}
	if f.Text != "" {
		c.and("instr(f.text, ?) > 0", []byte(strings.ToLower(f.Text)))
	}
	facts := f.Text != "" || !f.Since.IsZero() || !f.Until.IsZero()
	var from string
	switch {
	case byIndex && facts:
		from = "orders AS o CROSS JOIN facts AS f ON f.num = o.num"
	case byIndex:
		from = "orders AS o"
	case f.Status != "" || f.CustomerID != "":
		from = "facts AS f CROSS JOIN orders AS o ON o.num = f.num"
	default:
		from = "facts AS f"
	}
	query := "WITH page(num) AS MATERIALIZED (SELECT " + num + " FROM " + from + c.where() + " ORDER BY " + num + " DESC LIMIT ?) " +
		"SELECT o.num, o.id, o.sequence, o.state, p.sequence, p.state, r.sequence, r.state, s.num, s.state " +
		"FROM page CROSS JOIN orders AS o ON o.num = page.num CROSS JOIN facts AS f ON f.num = page.num " +
		"LEFT JOIN payments AS p ON p.owner = o.num AND p.id = f.payment LEFT JOIN refunds AS r ON r.owner = p.num " +
		"LEFT JOIN shipments AS s ON s.owner = o.num " +
		"ORDER BY page.num DESC, s.num"
	return query, append(c.args, limit)
}

func (s *store) orderRows(ctx context.Context, query string, args []any) (rows []OrderRow, err error) {
	found, err := s.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var (
			o                          OrderRow
			payment, refunds, shipment sql.Null[int64]
			part                       []byte
		)
		err := found.Scan(&o.Created, &o.OrderID, &o.Sequence, &o.Order, &payment, &o.Payment, &refunds, &o.Refunds, &shipment, &part)
		if err != nil {
			return nil, err
		}
		// An order with several shipments comes once for each.
		if n := len(rows); n == 0 || rows[n-1].Created != o.Created {
			o.PaymentSequence, o.RefundsSequence = uint64(payment.V), uint64(refunds.V)
			rows = append(rows, o)
		}
		if shipment.Valid {
			last := &rows[len(rows)-1]
			last.Shipments = append(last.Shipments, part)
		}
	}
	return rows, found.Err()
}

// OrdersOfCustomer returns the ids of a page of the customer's orders, newest first, and the cursor of the next page. Errors
// as Orders.
func (v *View) OrdersOfCustomer(ctx context.Context, customerID string, limit int, cursor string) (orderIDs []string, next string, err error) {
	var c conditions
	c.and("owner = ?", customerID)
	rows, next, err := v.page(ctx, "orders", "num, id, sequence, NULL", listing("orders of a customer", customerID), c, limit, cursor)
	for _, r := range rows {
		orderIDs = append(orderIDs, r.ID)
	}
	return orderIDs, next, err
}
