package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"

	"waybill/subjects"
)

// httpJSON is net/http with JSON. Its documentation (https://pkg.go.dev/net/http#Transport) has one client for all, which keeps
// connections: here one for each caller, as two for a host are its default. Replies are read to their end, so that they are kept.
type httpJSON struct{}

func (httpJSON) name() string { return "http-json" }
func (httpJSON) about() string {
	return "net/http with JSON over HTTP/1.1, a kept connection for each caller, a timeout for each call"
}

const maxBody = 1 << 16 // bytes

func (httpJSON) start(context.Context, string) (service, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payment/authorize", func(w http.ResponseWriter, r *http.Request) {
		request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var reply []byte
		if err == nil {
			reply, err = answerJSON(request)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(reply) // its caller has gone where it fails
	})
	return serveHTTP(&http.Server{Handler: mux})
}

func (httpJSON) dial(_ context.Context, address string, callers int) (caller, error) {
	return &httpCaller{
		&http.Client{Timeout: callTimeout, Transport: &http.Transport{MaxIdleConns: callers, MaxIdleConnsPerHost: callers}},
		address + "/payment/authorize",
	}, nil
}

type httpCaller struct {
	http *http.Client
	url  string
}

func (c *httpCaller) call(ctx context.Context, _ int, r *subjects.AuthorizeRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	switch {
	case err != nil:
		return err
	case response.StatusCode == http.StatusBadRequest:
		return errRefused
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("the answer is %s: %.200s", response.Status, reply)
	}
	return readJSON(r, reply)
}

func (c *httpCaller) close() error { c.http.CloseIdleConnections(); return nil }
