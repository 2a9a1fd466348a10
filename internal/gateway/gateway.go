// Package gateway is the node's HTTP side. It answers whether the process lives and whether it takes orders.
package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// Server is the HTTP listener of a node. Its methods are safe for concurrent use.
type Server struct {
	http     http.Server
	listener net.Listener
	done     chan struct{}
}

// Readiness is the body of /readyz: what is missing before the node takes orders, nothing once it does; and what it restarted
// by itself, if it did.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing"`
	Notes   []string `json:"notes,omitzero"`
}

// Start listens on addr and serves until Stop. missing says what the node lacks before it takes orders, notes what else an
// operator may want to know; they are called for each request and must not wait. Error: unavailable, in one line, for an address that can't be listened on.
func Start(addr string, missing, notes func() []string, log zerolog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "HTTP can't listen on %s: is another program there? choose another --http-addr", addr)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if lacks := missing(); len(lacks) > 0 {
			write(w, http.StatusServiceUnavailable, Readiness{false, lacks, notes()})
			return
		}
		write(w, http.StatusOK, Readiness{true, []string{}, notes()})
	})
	s := &Server{listener: l, done: make(chan struct{}), http: http.Server{
		Handler: secured(mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error().Err(err).Msg("the HTTP listener has failed; restart the node")
		}
	}()
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop ends the listener and waits for what is under way until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}

// secured sets what every answer carries.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, body) // the client has gone: there is nobody to tell
}
