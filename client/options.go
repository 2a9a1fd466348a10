package client

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
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
	nats    []nats.Option
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
		option, err := credentials(path, name)
		if err == nil {
			s.nats = append(s.nats, option)
		}
		return err
	}
}

func credentials(path, name string) (nats.Option, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the credentials %s can't be read: name an nkey seed, a .creds file or a secrets directory", path)
	}
	if info.IsDir() {
		path = filepath.Join(path, "users", name+".nk")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the credentials %s can't be read: name an nkey seed, a .creds file or a secrets directory", path)
	}
	defer clear(content)
	if bytes.Contains(content, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(path), nil
	}
	option, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, fault.New(fault.InvalidArgument, "%s holds neither an nkey seed nor a .creds file", path)
	}
	return option, nil
}

// WithTLS secures the connection; with a nil configuration the system's certificates decide whom to trust.
func WithTLS(c *tls.Config) Option {
	return func(s *settings) error {
		if c == nil {
			s.nats = append(s.nats, nats.Secure())
			return nil
		}
		s.nats = append(s.nats, nats.Secure(c))
		return nil
	}
}

// WithRootCA secures the connection and trusts servers whose certificate one of the given files (PEM) signed.
func WithRootCA(files ...string) Option {
	return func(s *settings) error {
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				return fault.Wrap(err, fault.InvalidArgument, "the certificates in %s can't be read", f)
			}
		}
		if len(files) == 0 {
			return fault.New(fault.InvalidArgument, "no file of certificates is named")
		}
		s.nats = append(s.nats, nats.RootCAs(files...))
		return nil
	}
}

// WithInboxPrefix has replies come to subjects below prefix, for users that may read no other inbox.
func WithInboxPrefix(prefix string) Option {
	return func(s *settings) error {
		s.nats = append(s.nats, nats.CustomInboxPrefix(strings.TrimSuffix(prefix, ".")))
		return nil
	}
}
