package view

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

// together is how many rows a statement inserts at once, where there are so many: a call of SQLite costs about as much as a row.
const together = 16

// statement is a prepared statement of the writer. It is called on the driver itself, as what database/sql does for a pool costs
// as much as binding the values does. It is used by the writer alone, within a call of Raw, as its connection is.
type statement struct {
	prepared driver.Stmt
	args     []driver.NamedValue
	columns  int // arguments of a row
}

func prepareStatement(ctx context.Context, conn driver.ConnPrepareContext, text string, rows, columns int) (*statement, error) {
	prepared, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	st := &statement{prepared: prepared, args: make([]driver.NamedValue, rows*columns), columns: columns}
	for i := range st.args {
		st.args[i].Ordinal = i + 1
	}
	return st, nil
}

// bind sets the arguments of the n-th row, counted from 0; they are held until the next exec or query is over. Their types must
// be those of driver.Value.
func (st *statement) bind(n int, values ...driver.Value) {
	for i, v := range values {
		st.args[n*st.columns+i].Value = v
	}
}

func (st *statement) forget() {
	for i := range st.args {
		st.args[i].Value = nil
	}
}

// exec runs the statement and returns how many rows it has written.
func (st *statement) exec(ctx context.Context) (int64, error) {
	done, err := st.prepared.(driver.StmtExecContext).ExecContext(ctx, st.args)
	st.forget()
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

// number runs a query for one integer; found is false when it has no row.
func (st *statement) number(ctx context.Context) (n int64, found bool, err error) {
	rows, err := st.prepared.(driver.StmtQueryContext).QueryContext(ctx, st.args)
	st.forget()
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var dest [1]driver.Value
	switch err := rows.Next(dest[:]); {
	case errors.Is(err, io.EOF):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	n, found = dest[0].(int64)
	return n, found, nil
}

// inserts is an INSERT for one row, and the same one for many.
type inserts struct {
	one, many *statement
}

// write inserts n rows, whose values row gives one by one, and returns how many were written.
func (i inserts) write(ctx context.Context, n int, row func(n int) []driver.Value) (written int64, err error) {
	for at := 0; at < n; {
		st, rows := i.one, 1
		if n-at >= together {
			st, rows = i.many, together
		}
		for k := range rows {
			st.bind(k, row(at+k)...)
		}
		w, err := st.exec(ctx)
		if err != nil {
			return written, err
		}
		written, at = written+w, at+rows
	}
	return written, nil
}

// insertText is the text of an INSERT of so many rows. A failure leaves the rows before it, as it ends the transaction anyway: for
// a statement that takes back its own rows SQLite would copy every page that it touches.
func insertText(into, columns, conflict string, rows int) string {
	n := strings.Count(columns, ",") + 1
	row := "(?" + strings.Repeat(",?", n-1) + ")"
	return "INSERT OR FAIL INTO " + into + " (" + columns + ") VALUES " + row + strings.Repeat(","+row, rows-1) + conflict
}
