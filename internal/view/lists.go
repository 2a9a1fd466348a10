package view

import (
	"context"

	"waybill/subjects"
)

// Row is an aggregate in a list.
type Row struct {
	ID       string
	State    []byte // the JSON of its state as the journal has it
	Sequence uint64 // of its last event
}

// ShipmentFilter narrows a list of shipments; empty fields don't.
type ShipmentFilter struct {
	Status  string
	OrderID string
	Limit   int    // 0 for DefaultLimit
	Cursor  string // next of the page before; empty for the first
}

// NotificationFilter narrows a list of notifications; empty fields don't.
type NotificationFilter struct {
	OrderID string
	Status  string
	Limit   int    // 0 for DefaultLimit
	Cursor  string // next of the page before; empty for the first
}

// Shipments returns a page of the shipments that match, newest first by their first event, and the cursor of the next page,
// empty after the last. Errors: invalid_argument with the field limit or cursor.
func (v *View) Shipments(ctx context.Context, f ShipmentFilter) (rows []Row, next string, err error) {
	return v.parts(ctx, "shipments", f.Status, f.OrderID, f.Limit, f.Cursor)
}

// Notifications is Shipments for notifications.
func (v *View) Notifications(ctx context.Context, f NotificationFilter) (rows []Row, next string, err error) {
	return v.parts(ctx, "notifications", f.Status, f.OrderID, f.Limit, f.Cursor)
}

// Items returns a page of the catalog by SKU, inactive items too, and the cursor of the next page, empty after the last.
// Errors: invalid_argument with the field limit or cursor.
func (v *View) Items(ctx context.Context, limit int, cursor string) (rows []Row, next string, err error) {
	return v.pageByID(ctx, "items", limit, cursor)
}

// Webhooks returns a page of the webhooks by id, without the deleted ones. Errors as Items.
func (v *View) Webhooks(ctx context.Context, limit int, cursor string) (rows []Row, next string, err error) {
	return v.pageByID(ctx, "webhooks", limit, cursor)
}

// parts is a page of the parts of orders in table.
func (v *View) parts(ctx context.Context, table, status, orderID string, limit int, cursor string) ([]Row, string, error) {
	var c conditions
	switch {
	case orderID != "":
		c.and("owner = (SELECT num FROM ids WHERE id = ? AND kind = ?)", orderID, tableOf(subjects.KindOrder))
		if status != "" {
			c.and("+status = ?", status) // An order has few parts: the sign keeps SQLite off the index over the status.
		}
	case status != "":
		c.and("status = ?", status)
	}
	return v.page(ctx, table, "num, id, sequence, state", listing(table, status, orderID), c, limit, cursor)
}

// page is a page of the rows of table that meet c, newest first; columns stands for num, id, sequence and state.
func (v *View) page(ctx context.Context, table, columns, list string, c conditions, limit int, cursor string) ([]Row, string, error) {
	limit, err := pageLimit(limit)
	if err != nil {
		return nil, "", err
	}
	before, err := below(list, cursor)
	if err != nil {
		return nil, "", err
	}
	c.and("num < ?", before)
	text := "SELECT " + columns + " FROM " + table + c.where() + " ORDER BY num DESC LIMIT ?"
	nums, rows, err := v.rows(ctx, table, text, append(c.args, limit+1))
	if err != nil || len(rows) <= limit {
		return rows, "", err
	}
	return rows[:limit], cursorBelow(list, nums[limit-1]), nil
}

// pageByID is a page of the rows of table that are not deleted, by id.
func (v *View) pageByID(ctx context.Context, table string, limit int, cursor string) ([]Row, string, error) {
	list := listing(table)
	limit, err := pageLimit(limit)
	if err != nil {
		return nil, "", err
	}
	var after []byte
	if cursor != "" {
		if after, err = decodeCursor(list, cursor); err != nil {
			return nil, "", err
		}
	}
	text := "SELECT num, id, sequence, state FROM " + table + " WHERE id > ? AND status <> ? ORDER BY id LIMIT ?"
	_, rows, err := v.rows(ctx, table, text, []any{string(after), deleted, limit + 1})
	if err != nil || len(rows) <= limit {
		return rows, "", err
	}
	return rows[:limit], encodeCursor(list, []byte(rows[limit-1].ID)), nil
}

// rows reads num, id, sequence and state of what text selects.
func (v *View) rows(ctx context.Context, table, text string, args []any) (nums []int64, rows []Row, err error) {
	err = v.with(ctx, "list "+table, func(s *store) error {
		found, err := s.readers.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var num int64
			var r Row
			if err := found.Scan(&num, &r.ID, &r.Sequence, &r.State); err != nil {
				return err
			}
			nums, rows = append(nums, num), append(rows, r)
		}
		return found.Err()
	})
	if err != nil {
		return nil, nil, err
	}
	return nums, rows, nil
}
