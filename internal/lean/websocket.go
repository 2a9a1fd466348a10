package lean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/gorilla/websocket"
)

const (
	webSocketBuffer = 16 << 10 // bytes of a frame that is written
	maxAnswer       = 64 << 10 // bytes with which a server may answer to the wish for a WebSocket, its certificates included
)

// webSocket opens a WebSocket over a connection, which it closes where it can't. It follows no redirect, and asks no proxy: the server is
// the one that the user named.
func (c *Conn) webSocket(ctx context.Context, a address, conn net.Conn) (net.Conn, error) {
	answer := &answer{Conn: conn, left: maxAnswer}
	d := websocket.Dialer{
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return answer, nil },
		TLSClientConfig: c.tlsFor(a),
		WriteBufferSize: webSocketBuffer,
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	ws, says, err := d.DialContext(ctx, a.String(), nil)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if says != nil {
			err = fmt.Errorf("%w: the server says %s", err, says.Status)
		}
		conn.Close()
		return nil, err
	}
	answer.over = true
	return OverWebSocket(ws), nil
}

var errLongAnswer = errors.New("the server's answer to the wish for a WebSocket is too long")

// answer is a connection that brings only so many bytes until the WebSocket is open.
type answer struct {
	net.Conn
	left int
	over bool
}

func (a *answer) Read(b []byte) (int, error) {
	if a.over {
		return a.Conn.Read(b)
	}
	if a.left == 0 {
		return 0, errLongAnswer
	}
	n, err := a.Conn.Read(b[:min(len(b), a.left)])
	a.left -= n
	return n, err
}

// OverWebSocket is a WebSocket as a stream of bytes, which its messages carry: each write is one. One goroutine may read and one
// write at a time; deadlines of writes are not kept. Close says no farewell, which would wait for a peer
// that may not answer; that of TLS, below, does not wait for one.
func OverWebSocket(ws *websocket.Conn) net.Conn { return &stream{Conn: ws.NetConn(), ws: ws} }

type stream struct {
	net.Conn
	ws  *websocket.Conn
	now io.Reader // the message that is being read
}

func (s *stream) Read(b []byte) (int, error) {
	for {
		if s.now == nil {
			_, r, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			s.now = r
		}
		n, err := s.now.Read(b)
		if err == io.EOF {
			s.now, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *stream) Write(b []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}
