package lean

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// reach opens a connection to a server, as far as its greeting, and tells of the socket that it lies on.
func (c *Conn) reach(ctx context.Context, a address) (net.Conn, *socket, error) {
	under, err := c.socket(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	if c.o.Dial != nil || !a.webSocket() {
		return under, under, nil
	}
	conn, err := c.webSocket(ctx, a, under)
	return conn, under, err
}

// socket opens the socket that everything else lies on.
func (c *Conn) socket(ctx context.Context, a address) (*socket, error) {
	if c.o.Dial != nil {
		conn, err := c.o.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return newSocket(conn), nil
	}
	network := "tcp"
	if a.scheme == "unix" {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, a.host)
	if err != nil {
		return nil, err
	}
	if c.o.Wrap != nil {
		conn = c.o.Wrap(conn)
	}
	return newSocket(conn), nil
}

// tlsFor is the configuration for a server: its name is the address's unless the user chose one.
func (c *Conn) tlsFor(a address) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.TLS != nil {
		config = c.o.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = a.name
	}
	return config
}

var errNoTLS = errors.New("the server offers no TLS")

// secure goes on in TLS after the greeting, where either side wants that. What came behind the greeting was not secured: nothing may.
func (c *Conn) secure(ctx context.Context, s *session, i *info) error {
	wanted := s.at.secure() || c.o.TLS != nil
	if s.at.webSocket() {
		s.secured = s.at.secure()
		return nil
	}
	if !wanted && !i.TLSRequired {
		return nil
	}
	if !i.TLSRequired && !i.TLSAvailable {
		return errNoTLS
	}
	if s.in.Buffered() > 0 {
		return errProtocol
	}
	conn := tls.Client(s.conn, c.tlsFor(s.at))
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	s.conn, s.in, s.secured = conn, bufio.NewReaderSize(conn, readBuffer), true
	return nil
}
