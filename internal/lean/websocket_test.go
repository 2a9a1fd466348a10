package lean

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// answering is a server that has each who comes ask for a WebSocket, and answers so.
func answering(t *testing.T, answer func(conn net.Conn)) (url string, asked *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int64)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					asked.Add(1)
					answer(conn)
				}
			})
		}
	})
	return "ws://" + l.Addr().String(), asked
}

// An answer without end, none at all, and one that sends elsewhere all end the dial, in time.
func TestWebSocketAnswers(t *testing.T) {
	dial := func(ctx context.Context, url string) error {
		c, err := Dial(ctx, Options{Servers: url, Inbox: "_INBOX", Log: zerolog.Nop()})
		if err == nil {
			c.Close()
		}
		return err
	}
	endless, _ := answering(t, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		for _, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nX: ")); err == nil; {
			_, err = conn.Write([]byte(strings.Repeat("x", 1000)))
		}
	})
	if err := dial(within(t), endless); !errors.Is(err, errLongAnswer) {
		t.Errorf("an answer without end: %v", err)
	}
	silent, asked := answering(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
	ctx, cancel := context.WithCancel(t.Context()) // without a deadline
	defer cancel()
	go func() {
		for asked.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	began := time.Now()
	if err := dial(ctx, silent); err == nil || time.Since(began) > dialTimeout/2 {
		t.Errorf("no answer: %v after %v", err, time.Since(began))
	}
	elsewhere, reached := answering(t, func(conn net.Conn) {})
	redirect, _ := answering(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte("HTTP/1.1 302 Found\r\nLocation: " + strings.Replace(elsewhere, "ws", "http", 1) + "\r\nContent-Length: 0\r\n\r\n"))
	})
	if err := dial(within(t), redirect); err == nil || reached.Load() != 0 {
		t.Errorf("it was sent elsewhere: %v, and went there %d times", err, reached.Load())
	}
}
