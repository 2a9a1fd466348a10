package view

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
)

// Dump writes everything that the view shows as text, in an order of its own that depends on nothing else: two views dump
// the same exactly when they show the same. The first line is the position; then comes a line for each aggregate. All of it
// is of one moment.
func (v *View) Dump(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriter(w)
	return v.with(ctx, "dump", func(s *store) error {
		tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it only reads
		var at position
		if err := tx.QueryRowContext(ctx, "SELECT sequence, event_id FROM position").Scan(&at.sequence, &at.eventID); err != nil {
			return err
		}
		fmt.Fprintf(out, "position %d %s\n", at.sequence, at.eventID)
		for _, t := range tables {
			if err := t.dump(ctx, tx, out); err != nil {
				return err
			}
		}
		return out.Flush()
	})
}

func (t table) dump(ctx context.Context, tx *sql.Tx, out io.Writer) error {
	found, err := tx.QueryContext(ctx, "SELECT t.num, t.id, t.sequence, t.status, t.owner, t.due, t.state, f.created, f.payment, f.text FROM "+
		t.name+" AS t LEFT JOIN facts AS f ON f.num = t.num AND ? ORDER BY t.num", t.name == "orders")
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var (
			num, sequence  int64
			id, status     string
			owner, payment sql.Null[string]
			due, created   sql.Null[int64]
			state, text    sql.RawBytes
		)
		if err := found.Scan(&num, &id, &sequence, &status, &owner, &due, &state, &created, &payment, &text); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s %s num=%d sequence=%d status=%q owner=%q due=%d created=%d payment=%q text=%q state=%q\n",
			t.kind, id, num, sequence, status, owner.V, due.V, created.V, payment.V, text, state)
		if err != nil {
			return fmt.Errorf("write the dump: %w", err)
		}
	}
	return found.Err()
}
