package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"

	"github.com/go-json-experiment/json"

	"waybill/subjects"
)

// echo is what the sockets alone take: the bytes of the JSON request, with their length before them, go there and come back on a
// connection for each caller. Nobody looks at what they mean.
type echo struct{ network string }

func (e *echo) name() string { return e.network + "-echo" }
func (e *echo) about() string {
	return "the socket alone: the request's bytes there and back, a connection for each caller, no deadline"
}

const echoMost = 1 << 16 // bytes of a message

func (e *echo) start(_ context.Context, dir string) (service, error) {
	at := "127.0.0.1:0"
	if e.network == "unix" {
		at = filepath.Join(dir, "echo")
	}
	l, err := net.Listen(e.network, at)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	open := make(map[net.Conn]bool) // nil once it is stopped
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if open == nil {
				c.Close()
			} else {
				open[c] = true
				all.Go(func() {
					echoes(c)
					mu.Lock()
					defer mu.Unlock()
					delete(open, c)
				})
			}
			mu.Unlock()
		}
	})
	return running{l.Addr().String(), func() error {
		err := l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		open = nil
		mu.Unlock()
		all.Wait()
		return err
	}}, nil
}

// echoes sends back what comes, until the connection ends.
func echoes(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4+echoMost)
	for {
		n, err := readMessage(c, buffer)
		if err != nil {
			return
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// readMessage reads a message with its length into the buffer, mostly by one read, and returns how many bytes it has with that. It
// relies on an end that waits for the answer before it sends again.
func readMessage(c net.Conn, buffer []byte) (int, error) {
	n, err := io.ReadAtLeast(c, buffer, 4)
	if err != nil {
		return 0, err
	}
	size := 4 + int(binary.BigEndian.Uint32(buffer))
	if size > len(buffer) || n > size {
		return 0, errors.New("the message is too long")
	}
	_, err = io.ReadFull(c, buffer[n:size])
	return size, err
}

type echoCaller struct {
	conns   []net.Conn
	buffers [][]byte
	sent    [][]byte
	free    func() bool // of dial's context
}

func (e *echo) dial(ctx context.Context, address string, callers int) (caller, error) {
	c := &echoCaller{}
	for n := range callers {
		conn, err := (&net.Dialer{}).DialContext(ctx, e.network, address)
		if err != nil {
			return nil, errors.Join(err, closeAll(c.conns))
		}
		c.conns = append(c.conns, conn)
		message, err := json.Marshal(question(n))
		if err != nil {
			return nil, errors.Join(err, closeAll(c.conns))
		}
		c.sent = append(c.sent, append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
		c.buffers = append(c.buffers, make([]byte, 4+echoMost))
	}
	c.free = context.AfterFunc(ctx, func() { _ = closeAll(c.conns) })
	return c, nil
}

// call sends question(n), whatever r is, as it was encoded before.
func (c *echoCaller) call(_ context.Context, n int, _ *subjects.AuthorizeRequest) error {
	if _, err := c.conns[n].Write(c.sent[n]); err != nil {
		return err
	}
	size, err := readMessage(c.conns[n], c.buffers[n])
	if err != nil {
		return err
	}
	if !bytes.Equal(c.buffers[n][:size], c.sent[n]) {
		return fmt.Errorf("other bytes came back: %q", c.buffers[n][:size])
	}
	return nil
}

func (c *echoCaller) close() error { c.free(); return closeAll(c.conns) }
