package lean

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// info is what of a server's greeting matters here. A server sends it again when something of it has changed.
type info struct {
	Nonce          string   `json:"nonce"`
	MaxPayload     int64    `json:"max_payload"`
	Headers        bool     `json:"headers"`
	TLSRequired    bool     `json:"tls_required"`
	TLSAvailable   bool     `json:"tls_available"`
	Others         []string `json:"connect_urls"`
	OtherWebSocket []string `json:"ws_connect_urls"`
}

var errGreeting = errors.New("the server did not greet as a NATS server with headers does")

// heed takes in what a server says of itself. It is called by the goroutine that reads the session.
func (c *Conn) heed(s *session, line []byte) (*info, error) {
	text, ok := bytes.CutPrefix(line, []byte("INFO "))
	i := new(info)
	if !ok || json.Unmarshal(text, i) != nil || !i.Headers || i.MaxPayload <= 0 {
		return nil, errGreeting
	}
	c.payload.Store(i.MaxPayload)
	told := i.Others
	if s.at.webSocket() {
		told = i.OtherWebSocket
	}
	if c.o.Dial == nil && len(told) > 0 {
		c.mu.Lock()
		c.servers = learn(c.servers, s.at, told)
		c.mu.Unlock()
	}
	return i, nil
}

// greet reads the server's greeting, goes on in TLS where that is wanted, says who this is, and waits until the server agrees.
func (c *Conn) greet(ctx context.Context, s *session) error {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	i, err := c.heed(s, line)
	if err != nil {
		return err
	}
	if err := c.secure(ctx, s, i); err != nil {
		return err
	}
	h := hello{Name: c.o.Name, Lang: "go", Version: "1", Protocol: 1, Echo: true, Headers: true, NoResponders: true, TLSRequired: s.secured}
	if err := c.o.Login.sign(&h, s.at.user, i.Nonce); err != nil {
		return err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := s.conn.Write(fmt.Appendf(nil, "CONNECT %s\r\nPING\r\n", text)); err != nil {
		return err
	}
	for {
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("PONG")):
			return nil
		case bytes.HasPrefix(line, []byte("-ERR")):
			return refusal(line)
		case bytes.HasPrefix(line, []byte("INFO ")):
			if _, err := c.heed(s, line); err != nil {
				return err
			}
		}
	}
}
