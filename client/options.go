package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/poll"
	"waybill/subjects"
)

// Option changes how a client connects or calls.
type Option func(*settings) error

type settings struct {
	site    subjects.Site
	name    string
	by      string
	timeout time.Duration
	retry   Retry
	hedge   time.Duration
	inbox   string

	transport Transport
	login     lean.Login
	secure    *tls.Config             // nil where nobody asked for TLS
	roots     *x509.CertPool          // nil for the system's
	poll      time.Duration           // how long a read of a socket polls; 0 for not at all
	wrap      func(net.Conn) net.Conn // around each new socket in place of polling, for tests
}

// socket is what a new socket is used through.
func (s *settings) socket(conn net.Conn) net.Conn {
	if s.wrap != nil {
		return s.wrap(conn)
	}
	return poll.Wrap(conn, s.poll)
}

// tls is the configuration of a secured connection; nil where nobody asked for one.
func (s *settings) tls() *tls.Config {
	if s.roots == nil {
		return s.secure
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.secure != nil {
		c = s.secure.Clone()
	}
	c.RootCAs = s.roots
	return c
}

// WithSite names the site to talk to; subjects.DefaultSite without it.
func WithSite(site subjects.Site) Option {
	return func(s *settings) error {
		s.site = site
		return nil
	}
}

// WithName names the connection in the server's lists.
func WithName(name string) Option {
	return func(s *settings) error {
		s.name = name
		return nil
	}
}

// WithSignature says who it is that changes settings through this client, for their history: "ann@till-3". The site takes it
// for what it is, a name that anybody may give.
func WithSignature(by string) Option {
	return func(s *settings) error {
		s.by = by
		return nil
	}
}

// WithTimeout bounds connecting, and each call whose context has no deadline; 10 s without it. The site is told how long the
// caller waits, and answers in time.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fault.New(fault.InvalidArgument, "the timeout %s is not positive", d)
		}
		s.timeout = d
		return nil
	}
}

// WithRetry replaces DefaultRetry.
func WithRetry(r Retry) Option {
	return func(s *settings) error {
		s.retry = r
		return nil
	}
}

// WithCredentials reads who is calling from a file: an nkey seed, or a .creds file. A directory is taken for the secrets of
// a node of this machine, of which the user "client" is taken; WithUser takes another.
func WithCredentials(path string) Option { return WithUser(path, defaultUser) }

const defaultUser = "client"

// WithUser is WithCredentials for one of the users of a secrets directory: its file users/<name>.nk. With a file in place of
// the directory, name is not looked at.
func WithUser(path, name string) Option {
	return func(s *settings) error {
		var err error
		s.login, err = credentials(path, name)
		return err
	}
}

func credentials(path, name string) (lean.Login, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, "users", name+".nk")
	}
	var login lean.Login
	if err == nil {
		login, err = lean.Credentials(path)
	}
	var outside *fs.PathError
	switch {
	case errors.As(err, &outside):
		return lean.Login{}, fault.Wrap(err, fault.InvalidArgument, "the credentials %s can't be read: name an nkey seed, a .creds file or a secrets directory", path)
	case err != nil:
		return lean.Login{}, fault.New(fault.InvalidArgument, "%s holds neither an nkey seed nor a .creds file", path)
	}
	return login, nil
}

// WithTransport says what carries the calls; Lean without it. Events, Replay and what else reads streams go over nats.go in any case.
func WithTransport(t Transport) Option {
	return func(s *settings) error {
		if t != Lean && t != NATS {
			return fault.New(fault.InvalidArgument, "the transport %.40q is neither %s nor %s", t, Lean, NATS)
		}
		s.transport = t
		return nil
	}
}

// WithHedging has a call that may be repeated asked a second time where no answer has come after a delay: a little more than most
// calls take, such as their 95th percentile. The first good answer counts and the other is given up. NATS hands each request to any
// of a service's instances, so one that is slow holds up fewer calls. No call is asked more than once more by this, and that is not
// counted as a repetition. What may not be repeated is asked once.
func WithHedging(delay time.Duration) Option {
	return func(s *settings) error {
		if delay <= 0 {
			return fault.New(fault.InvalidArgument, "the delay %s is not positive", delay)
		}
		s.hedge = delay
		return nil
	}
}

// WithTLS secures the connection; with a nil configuration the system's certificates decide whom to trust.
func WithTLS(c *tls.Config) Option {
	return func(s *settings) error {
		if s.secure = c; c == nil {
			s.secure = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		return nil
	}
}

// WithRootCA secures the connection and trusts servers whose certificate one of the given files (PEM) signed.
func WithRootCA(files ...string) Option {
	return func(s *settings) error {
		s.roots = x509.NewCertPool()
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				return fault.Wrap(err, fault.InvalidArgument, "the certificates in %s can't be read", f)
			}
			if !s.roots.AppendCertsFromPEM(content) {
				return fault.New(fault.InvalidArgument, "there are no certificates in %s", f)
			}
		}
		if len(files) == 0 {
			return fault.New(fault.InvalidArgument, "no file of certificates is named")
		}
		return nil
	}
}

// WithInboxPrefix has replies come to subjects below prefix, for users that may read no other inbox. Where the user may not read
// these, every call ends with permission_denied.
func WithInboxPrefix(prefix string) Option {
	return func(s *settings) error {
		s.inbox = strings.TrimSuffix(prefix, ".")
		if s.inbox == "" || strings.ContainsAny(s.inbox, "*> \t\r\n") || strings.Contains("."+s.inbox+".", "..") {
			return fault.New(fault.InvalidArgument, "%.60q is not a prefix of subjects", prefix)
		}
		return nil
	}
}

// WithPolling has reads of the connection's socket look for what comes for up to the bound before the goroutine sleeps, 50 µs without this
// option and 1 ms at most; 0 switches it off. Where a core is idle and callers are few, an answer is there several times as soon and
// for less CPU, as nobody has to be woken; where the machine is busy or the connection at rest, it does not poll. Both ends have to: the
// site's setting is nats_poll. Error: invalid_argument.
func WithPolling(bound time.Duration) Option {
	return func(s *settings) error {
		if bound < 0 || bound > time.Millisecond {
			return fault.New(fault.InvalidArgument, "polling for %s is not between 0 and 1ms", bound)
		}
		s.poll = bound
		return nil
	}
}
