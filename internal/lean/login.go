package lean

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Login says who connects: by nkey, by a JWT and its nkey, by user and password, or by token. The zero Login is nobody. A user in
// the server's URL comes before User, Password and Token.
type Login struct {
	Key  string                             // the user's public nkey, without a JWT
	JWT  func() (string, error)             // is asked at each connection, so that a new one may take an old one's place
	Sign func(nonce []byte) ([]byte, error) // with the nkey's seed

	User, Password, Token string
}

// Credentials is the Login of a file: an nkey seed, or a .creds file with a JWT and its seed. What it holds is read at each
// connection. Errors: the file's; nkeys' for what holds no seed of a user.
func Credentials(path string) (Login, error) {
	l := Login{Sign: func(nonce []byte) (signature []byte, err error) {
		err = open(path, func(content []byte) error {
			key, err := nkeys.ParseDecoratedUserNKey(content)
			if err != nil {
				return err
			}
			defer key.Wipe()
			signature, err = key.Sign(nonce)
			return err
		})
		return signature, err
	}}
	err := open(path, func(content []byte) error {
		key, err := nkeys.ParseDecoratedUserNKey(content)
		if err != nil {
			return err
		}
		defer key.Wipe()
		if bytes.Contains(content, []byte("BEGIN NATS USER JWT")) {
			l.JWT = func() (string, error) { return readJWT(path) }
			return nil
		}
		l.Key, err = key.PublicKey()
		return err
	})
	if err != nil {
		return Login{}, err
	}
	return l, nil
}

func readJWT(path string) (jwt string, err error) {
	err = open(path, func(content []byte) error {
		jwt, err = nkeys.ParseDecoratedJWT(content)
		return err
	})
	return jwt, err
}

// open lends a file's content, and wipes it.
func open(path string, use func(content []byte) error) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer clear(content)
	return use(content)
}

// hello is what a client says of itself.
type hello struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	TLSRequired  bool   `json:"tls_required"`
	JWT          string `json:"jwt,omitempty"`
	NKey         string `json:"nkey,omitempty"`
	Signature    string `json:"sig,omitempty"`
	User         string `json:"user,omitempty"`
	Password     string `json:"pass,omitempty"`
	Token        string `json:"auth_token,omitempty"`
	Name         string `json:"name"`
	Lang         string `json:"lang"`
	Version      string `json:"version"`
	Protocol     int    `json:"protocol"`
	Echo         bool   `json:"echo"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"`
}

// sign fills in who connects.
func (l Login) sign(h *hello, user *url.Userinfo, nonce string) error {
	h.User, h.Password, h.Token, h.NKey = l.User, l.Password, l.Token, l.Key
	if user != nil {
		h.User, h.Token = user.Username(), ""
		var ok bool
		if h.Password, ok = user.Password(); !ok {
			h.User, h.Token = "", user.Username()
		}
	}
	if l.JWT != nil {
		var err error
		if h.JWT, err = l.JWT(); err != nil {
			return err
		}
	}
	if l.Sign == nil {
		return nil
	}
	if nonce == "" && l.JWT != nil {
		return errors.New("the server does not ask for a signature: it knows no such users")
	}
	signature, err := l.Sign([]byte(nonce))
	if err != nil {
		return err
	}
	h.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return nil
}

// refusal is the error that a server's -ERR line means. Those of who connects are nats.ErrAuthorization, nats.ErrAuthExpired,
// nats.ErrAuthRevoked and nats.ErrAccountAuthExpired; what may not be published or heard is nats.ErrPermissionViolation.
func refusal(line []byte) error {
	text := strings.Trim(strings.TrimPrefix(strings.TrimSpace(string(line)), "-ERR"), " '")
	for _, known := range [...]struct {
		begin string
		err   error
	}{
		{"authorization violation", nats.ErrAuthorization},
		{"user authentication expired", nats.ErrAuthExpired},
		{"user authentication revoked", nats.ErrAuthRevoked},
		{"account authentication expired", nats.ErrAccountAuthExpired},
		{"permissions violation", nats.ErrPermissionViolation},
		{"stale connection", nats.ErrStaleConnection},
		{"maximum connections exceeded", nats.ErrMaxConnectionsExceeded},
	} {
		if len(text) >= len(known.begin) && strings.EqualFold(text[:len(known.begin)], known.begin) {
			return fmt.Errorf("%w: the NATS server says: %s", known.err, text)
		}
	}
	return fmt.Errorf("the NATS server says: %s", text)
}

// Unauthorized reports whether the server refused who connects, as far as another try can't mend that by itself.
func Unauthorized(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}

// forbidden is the subject that a permissions violation was about: Permissions Violation for Publish to "x". Empty for any other error.
func forbidden(err error) string {
	_, rest, ok := strings.Cut(err.Error(), `Publish to "`)
	if !ok || !errors.Is(err, nats.ErrPermissionViolation) {
		return ""
	}
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}
