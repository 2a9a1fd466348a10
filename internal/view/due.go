package view

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// DueItem is an aggregate that the background process must look at.
type DueItem struct {
	Kind subjects.Kind // order, payment, refund or notification
	ID   string        // the aggregate's id
	At   timestamp.Time
}

// Due returns at most limit aggregates whose due_at is at or before now, the longest overdue first; of equal times the
// earlier created first. An aggregate stays on the list until a later state says otherwise. Error: invalid_argument for a
// limit below 1.
func (v *View) Due(ctx context.Context, now timestamp.Time, limit int) (items []DueItem, err error) {
	if limit < 1 {
		return nil, fault.Invalid("limit", "limit must be at least 1")
	}
	err = v.with(ctx, "read the work list", func(s *store) error {
		found, err := s.readers.QueryContext(ctx, dueQuery, millis(now), limit)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var i DueItem
			var at, num int64
			if err := found.Scan(&i.Kind, &i.ID, &at, &num); err != nil {
				return err
			}
			i.At = timestamp.Of(time.UnixMilli(at))
			items = append(items, i)
		}
		return found.Err()
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// NextDueAfter is the earliest due_at that lies after t; ok is false when there is none.
func (v *View) NextDueAfter(ctx context.Context, t timestamp.Time) (at timestamp.Time, ok bool, err error) {
	var first sql.Null[int64]
	err = v.with(ctx, "read the work list", func(s *store) error {
		return s.readers.QueryRowContext(ctx, nextDueAfterQuery, millis(t)).Scan(&first)
	})
	if err != nil || !first.Valid {
		return timestamp.Time{}, false, err
	}
	return timestamp.Of(time.UnixMilli(first.V)), true, nil
}

// DueChanged receives a signal after a commit that put an aggregate on the work list or moved it there. Signals that nobody
// took become one. It is for one receiver, who then asks NextDueAfter. What leaves the list is not signalled: a timer that fires
// for it finds nothing. The channel is never closed.
func (v *View) DueChanged() <-chan struct{} { return v.dueChanged }

var dueQuery = eachDue("SELECT '%kind%' AS kind, id, due, num FROM %table% WHERE due <= ?1", " UNION ALL ") +
	" ORDER BY due, num LIMIT ?2"

var nextDueAfterQuery = "SELECT min(first) FROM (" + eachDue("SELECT min(due) AS first FROM %table% WHERE due > ?1", " UNION ALL ") + ")"

func eachDue(text, between string) string {
	var parts []string
	for _, t := range tables {
		if t.due {
			parts = append(parts, strings.NewReplacer("%kind%", string(t.kind), "%table%", t.name).Replace(text))
		}
	}
	return strings.Join(parts, between)
}
