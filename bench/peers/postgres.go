package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNoPostgres means that the machine has no PostgreSQL, so that the peer is left out.
var errNoPostgres = errors.New("no PostgreSQL was found, in the PATH or in /usr/lib/postgresql (on Debian: apt-get install postgresql-15)")

// postgresConfig is the stock configuration but for what any site would set, and for the address.
const postgresConfig = `
shared_buffers = 256MB
max_connections = 100
listen_addresses = ''
`

//go:embed schema.sql
var schema string

// database is a PostgreSQL server on an empty directory, reached by a Unix socket only.
type database struct {
	*process
	url      string
	version  string
	settings string // those that decide about durability, as the server tells them
}

// startDatabase makes and starts a database in dir, which must be empty, and loads the schema. PostgreSQL refuses to run as
// root: then it runs as postgres, or else as nobody. Error: errNoPostgres; others.
func startDatabase(ctx context.Context, dir string) (*database, error) {
	bin, err := findPostgres(ctx)
	if err != nil {
		return nil, err
	}
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
	}
	command := func(program string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, program), args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: owner}
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	config, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(config, "%sunix_socket_directories = '%s'\n", postgresConfig, dir)
	if err := errors.Join(err, config.Close()); err != nil {
		return nil, err
	}
	p, err := startProcess(command("postgres", "-D", data), filepath.Join(filepath.Dir(dir), "postgres.log"))
	if err != nil {
		return nil, err
	}
	db := &database{process: p, url: fmt.Sprintf("host=%s user=postgres dbname=postgres", dir)}
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return db, nil
}

func (db *database) prepare(ctx context.Context) error {
	var c *pgx.Conn
	err := db.await(func() (bool, error) {
		var err error
		c, err = pgx.Connect(ctx, db.url)
		return err == nil, ctx.Err()
	})
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	var fsync, commit, method string
	err = c.QueryRow(ctx, "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('wal_sync_method')").
		Scan(&db.version, &fsync, &commit, &method)
	if err != nil {
		return err
	}
	if fsync != "on" || commit != "on" {
		return fmt.Errorf("this PostgreSQL is not durable: fsync %s, synchronous_commit %s", fsync, commit)
	}
	db.settings = fmt.Sprintf("fsync %s, synchronous_commit %s, wal_sync_method %s", fsync, commit, method)
	_, err = c.Exec(ctx, schema)
	return err
}

// findPostgres is the directory of PostgreSQL 15's programs, or else of another version's.
func findPostgres(ctx context.Context) (string, error) {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	other := ""
	for _, dir := range append(dirs, installed...) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		if strings.Contains(string(out), " 15.") {
			return dir, nil
		}
		other = dir
	}
	if other == "" {
		return "", errNoPostgres
	}
	return other, nil
}

// unprivileged is whom PostgreSQL is to run as: nil for this user, where that is not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

// with runs f on a connection of its own, for 30 s at most.
func (db *database) with(ctx context.Context, f func(ctx context.Context, c *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	return f(ctx, c)
}
