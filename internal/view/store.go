package view

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"waybill/internal/fault"
)

// Page caches in KiB: the whole view stays within writerCache + readers × readerCache and the write-ahead log's index.
const (
	writerCache = 4096
	readerCache = 1024
	readers     = 3
)

// store is an open file: the one connection that writes, with its prepared statements, and a small pool that reads. Write-ahead
// logging lets the readers see the last commit while the writer is at work. With synchronous=NORMAL a power cut may take
// back the last commits, whole and in order, and never tears the file.
type store struct {
	readers  *sql.DB
	pool     *sql.DB   // the pool of one that conn belongs to
	conn     *sql.Conn // the writer; used only by who holds View.writing
	begin    *statement
	commit   *statement
	rollback *statement
	moveTo   *statement
	number   *statement
	names    inserts
	insert   []inserts    // by index in tables
	update   []*statement // likewise
	facts    inserts
	refact   *statement
	span     *statement
	batch    batch
	recent   recent
	prepared []*statement // all of them, to be closed
	damaged  atomic.Bool  // SQLite has found the file to be corrupt
}

// unfit is the reason why a file is thrown away instead of used.
type unfit string

func (u unfit) Error() string { return string(u) }

// openStore opens the file at path, or makes it, throwing away one that is not fit.
func openStore(ctx context.Context, path string, log zerolog.Logger) (*store, position, error) {
	st, at, err := openFile(ctx, path)
	var reason unfit
	if errors.As(err, &reason) || isDamage(err) {
		log.Warn().Str("file", path).Str("reason", err.Error()).Msg("the view is thrown away and will be rebuilt from the journal")
		if err := removeFiles(path); err != nil {
			return nil, position{}, fault.Wrap(err, fault.Unavailable, "the view %s could not be removed; delete the file and start again", path)
		}
		st, at, err = openFile(ctx, path)
	}
	switch {
	case err == nil:
		return st, at, nil
	case ctx.Err() != nil:
		return nil, position{}, fmt.Errorf("open the view: %w", ctx.Err())
	}
	return nil, position{}, fault.Wrap(err, fault.Unavailable, "the view %s could not be opened; check the directory's rights and free space", path)
}

// openFile opens the file as it is. Errors: unfit, or SQLite's.
func openFile(ctx context.Context, path string) (_ *store, _ position, err error) {
	st := &store{}
	defer func() {
		if err != nil {
			_ = st.close(false) // the first error says what is wrong
		}
	}()
	if st.pool, err = openPool(path, "rwc", 1, writerCache); err != nil {
		return nil, position{}, err
	}
	if st.conn, err = st.pool.Conn(ctx); err != nil {
		return nil, position{}, err
	}
	at, err := st.check(ctx)
	if err != nil {
		return nil, position{}, err
	}
	if err := st.prepare(ctx); err != nil {
		return nil, position{}, err
	}
	if st.readers, err = openPool(path, "ro", readers, readerCache); err != nil {
		return nil, position{}, err
	}
	return st, at, nil
}

// openPool returns a pool of at most n connections with a page cache of cache KiB each.
func openPool(path, mode string, n, cache int) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", OmitHost: true, Path: abs}
	q := url.Values{"mode": {mode}, "_busy_timeout": {"5000"}, "_dqs": {"0"}}
	q.Add("_pragma", fmt.Sprintf("cache_size(-%d)", cache))
	q.Add("_pragma", "temp_store(MEMORY)")
	if mode == "ro" {
		q.Set("_query_only", "1")
	} else {
		q.Set("_journal_mode", "WAL")
		q.Set("_synchronous", "NORMAL")
		q.Add("_pragma", "journal_size_limit(16777216)")
	}
	name.RawQuery = q.Encode()
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// check makes the schema in an empty file, and else finds out whether the file is a sound view of this version. It leaves
// the file marked as in use; the mark is durable before anything later is, as the log keeps its order.
func (s *store) check(ctx context.Context) (at position, err error) {
	var objects, application, version, clean int64
	err = s.conn.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM sqlite_schema), (SELECT application_id FROM pragma_application_id), "+
		"(SELECT user_version FROM pragma_user_version)").Scan(&objects, &application, &version)
	if err != nil {
		return at, err
	}
	if objects == 0 && application == 0 && version == 0 {
		if _, err = s.conn.ExecContext(ctx, "BEGIN IMMEDIATE;\n"+schema()+"COMMIT;"); err != nil {
			return at, err
		}
		return at, s.mark(ctx)
	}
	if application != applicationID {
		return at, unfit("it is not a view")
	}
	if version != schemaVersion {
		return at, unfit(fmt.Sprintf("it has schema version %d, this program writes %d", version, schemaVersion))
	}
	err = s.conn.QueryRowContext(ctx, "SELECT sequence, event_id, clean FROM position WHERE one = 1").Scan(&at.sequence, &at.eventID, &clean)
	if errors.Is(err, sql.ErrNoRows) {
		return at, unfit("it has no position")
	}
	if err != nil {
		return at, err
	}
	if clean != isClean && (clean == notClean || clean != bootMark()) {
		var verdict string
		if err := s.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return at, err
		}
		if verdict != "ok" {
			return at, unfit("it is damaged: " + verdict)
		}
	}
	return at, s.mark(ctx)
}

// mark notes that the file is in use.
func (s *store) mark(ctx context.Context) error {
	_, err := s.conn.ExecContext(ctx, "UPDATE position SET clean = ? WHERE one = 1", bootMark())
	return err
}

func (s *store) prepare(ctx context.Context) error {
	return s.conn.Raw(func(c any) (err error) {
		conn := c.(driver.ConnPrepareContext)
		one := func(text string, rows, columns int) (st *statement) {
			if err == nil {
				st, err = prepareStatement(ctx, conn, text, rows, columns)
			}
			if err == nil {
				s.prepared = append(s.prepared, st)
			}
			return st
		}
		both := func(into, columns, conflict string) inserts {
			n := strings.Count(columns, ",") + 1
			return inserts{one(insertText(into, columns, conflict, 1), 1, n), one(insertText(into, columns, conflict, together), together, n)}
		}
		s.begin, s.commit, s.rollback = one("BEGIN IMMEDIATE", 0, 0), one("COMMIT", 0, 0), one("ROLLBACK", 0, 0)
		s.moveTo = one("UPDATE position SET sequence = ?, event_id = ? WHERE one = 1", 1, 2)
		s.number = one("SELECT num FROM ids WHERE id = ? AND kind = ?", 1, 2)
		s.names = both("ids", "id, kind, num", " ON CONFLICT DO NOTHING")
		for _, t := range tables {
			s.insert = append(s.insert, both(t.name, "sequence, status, owner, due, state, num, id", ""))
			s.update = append(s.update, one("UPDATE "+t.name+" SET sequence = ?, status = ?, owner = ?, due = ?, state = ? WHERE num = ?", 1, 6))
		}
		s.facts = both("facts", "num, created, payment, text", "")
		s.refact = one("UPDATE facts SET created = ?2, payment = ?3, text = ?4 WHERE num = ?1 AND "+
			"(created <> ?2 OR payment <> ?3 OR text <> ?4)", 1, 4)
		s.span = one("INSERT INTO spans (chunk, earliest, latest) VALUES (?1,?2,?3) ON CONFLICT (chunk) DO UPDATE SET "+
			"earliest = min(earliest, ?2), latest = max(latest, ?3) WHERE ?2 < earliest OR ?3 > latest", 1, 3)
		return err
	})
}

// forget lets go of what is remembered and cached. It belongs to who writes.
func (s *store) forget(ctx context.Context) error {
	s.recent.empty()
	s.batch = batch{}
	_, err := s.conn.ExecContext(ctx, "PRAGMA shrink_memory")
	return err
}

// close releases everything; clean marks the file as sound first, unless it was found damaged.
func (s *store) close(clean bool) (err error) {
	if s.readers != nil {
		err = s.readers.Close()
	}
	if s.conn != nil {
		// A connection with an open statement outlives its closing in SQLite, and keeps the log beside the file.
		err = errors.Join(err, s.conn.Raw(func(any) (err error) {
			for _, st := range s.prepared {
				err = errors.Join(err, st.prepared.Close())
			}
			return err
		}))
		err = errors.Join(err, s.conn.Close()) // back to its pool
		switch {
		case s.damaged.Load():
			_, e := s.pool.Exec("UPDATE position SET clean = ? WHERE one = 1", notClean) // so that it is checked
			err = errors.Join(err, e)
		case clean:
			_, e := s.pool.Exec("UPDATE position SET clean = ? WHERE one = 1", isClean)
			err = errors.Join(err, e)
		}
	}
	if s.pool != nil {
		err = errors.Join(err, s.pool.Close())
	}
	return err
}

// explain turns an error of SQLite into one that says what to do.
func (s *store) explain(ctx context.Context, what string, err error) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case isDamage(err):
		s.damaged.Store(true)
		return fault.Wrap(err, fault.Unavailable, "the lists are damaged and can't %s; start the program again, it rebuilds them", what)
	case code(err) == sqlite3.SQLITE_FULL:
		return fault.Wrap(err, fault.ResourceExhausted, "the disk is full, so the lists can't %s; make space", what)
	}
	return fault.Wrap(err, fault.Internal, "the lists could not %s; the log of this site says more", what)
}

// isDamage reports whether SQLite says that the file's content is broken or none of its own.
func isDamage(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// code is SQLite's primary result code of err, 0 for other errors.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// removeFiles removes the view's file and what SQLite keeps beside it.
func removeFiles(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
