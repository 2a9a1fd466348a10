package view

import (
	"context"
	"database/sql"
	"time"

	"waybill/internal/timestamp"
)

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

var nextDueAfterQuery = "SELECT min(first) FROM (" + eachDue("SELECT min(due) AS first FROM %table% WHERE due > ?1", " UNION ALL ") + ")"
