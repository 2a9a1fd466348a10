package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"waybill/bench"
	"waybill/client"
	"waybill/subjects"
)

// site is Waybill as an operator runs it: `waybill serve` in a process of its own. The load comes over NATS.
type site struct {
	process    *process
	client     *client.Client
	program    string
	durability string // strict or fast
	data       string
	url        string // of its NATS
}

// buildWaybill builds the program from the module's source into dir, and returns its path and the commit that it is of.
func buildWaybill(ctx context.Context, dir string) (program, commit string, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "waybill").Output()
	if err != nil {
		return "", "", fmt.Errorf("the module waybill is not found; run this in bench/peers: %w", err)
	}
	source := strings.TrimSpace(string(out))
	program = filepath.Join(dir, "waybill")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/waybill")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("go build: %w: %s", err, out)
	}
	head, err := exec.CommandContext(ctx, "git", "-C", source, "describe", "--always", "--dirty").Output()
	if err != nil {
		return program, "", nil // not a git checkout
	}
	return program, strings.TrimSpace(string(head)), nil
}

// startSite starts a site with its data in dir, and gives it the workload's catalog and stock.
func startSite(ctx context.Context, program, dir, durability string) (*site, error) {
	data := filepath.Join(dir, "waybill-"+durability)
	p, err := startProcess(exec.Command(program, "serve", "--data", data, "--nats-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0",
		"--etcd-addr", "127.0.0.1:0", "--durability", durability, "--log-level", "error"), data+".log")
	if err != nil {
		return nil, err
	}
	s := &site{process: p, program: program, durability: durability, data: data}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) prepare(ctx context.Context) error {
	var at struct {
		NATS string `json:"nats"`
	}
	err := s.process.await(func() (bool, error) {
		text, err := os.ReadFile(filepath.Join(s.data, "endpoints.json"))
		if err != nil {
			return false, ctx.Err() // not there yet
		}
		return true, json.Unmarshal(text, &at)
	})
	if err != nil {
		return err
	}
	s.url = at.NATS
	if s.client, err = client.Connect(ctx, s.url, client.WithTimeout(20*time.Second)); err != nil {
		return err
	}
	reply, err := s.client.Raw(ctx, "health.list", []byte("{}"))
	if err != nil {
		return err
	}
	if reply.Durability() != s.durability {
		return fmt.Errorf("the site answers with durability %q and not %s", reply.Durability(), s.durability)
	}
	return bench.Prepare(ctx, s.client)
}

func (s *site) name() string          { return "Waybill " + s.durability }
func (s *site) processes() []*process { return []*process{s.process} }

func (s *site) place(ctx context.Context, n int) error {
	o, err := client.Call(ctx, s.client, subjects.OrderPlace, bench.Order(n))
	if err == nil && o.Status != "confirmed" {
		err = fmt.Errorf("the order is %s: %+v", o.Status, o.Reason)
	}
	return err
}

// check has the whole journal verified, and that as many orders are in it as were confirmed.
func (s *site) check(ctx context.Context, placed int64) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, s.program, "verify", "--server", s.url, "-o", "json")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("waybill verify: %w: %.2000s %.2000s", err, said.Bytes(), out)
	}
	var report struct {
		Orders int64 `json:"orders"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return err
	}
	if report.Orders != placed {
		return fmt.Errorf("the journal holds %d orders, and %d were confirmed", report.Orders, placed)
	}
	return nil
}

func (s *site) close() error {
	if s.client != nil {
		s.client.Close()
	}
	return s.process.stop()
}
