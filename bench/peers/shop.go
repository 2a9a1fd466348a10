package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"waybill/bench"
	"waybill/subjects"
)

// shop is the peer: the order service in a process of its own over a PostgreSQL server. The load comes over HTTP/1.1 with JSON, on
// connections that are kept open.
type shop struct {
	db      *database
	service *child
	http    *http.Client
	url     string
}

// startShop starts both with their data in dir, and gives them the workload's catalog and stock. connections is the size of
// the service's pool. Error: errNoPostgres; others.
func startShop(ctx context.Context, dir string, connections int) (*shop, error) {
	data := filepath.Join(dir, "postgres")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	db, err := startDatabase(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &shop{db: db, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}}
	if err := s.stock(ctx, 10*subjects.MaxQuantity); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.service, err = startChild(filepath.Join(dir, "order-service.log"), "order-service", "-db", db.url, "-conns", strconv.Itoa(connections)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.url = s.service.at + "/orders"
	return s, nil
}

// stock puts the catalog of bench.Prepare, with the quantity of each item on hand.
func (s *shop) stock(ctx context.Context, quantity int64) error {
	return s.db.with(ctx, func(ctx context.Context, c *pgx.Conn) error {
		for i := range bench.SKUs {
			if _, err := c.Exec(ctx, "INSERT INTO catalog VALUES ($1, $2, $3, 'EUR', 1900)", string(bench.SKU(i)), fmt.Sprintf("Item %d", i), 100+10*i); err != nil {
				return err
			}
			if _, err := c.Exec(ctx, "INSERT INTO stock (sku, on_hand) VALUES ($1, $2)", string(bench.SKU(i)), quantity); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *shop) name() string { return "PostgreSQL" }

func (s *shop) processes() []*process { return []*process{s.db.process, s.service.process} }

func (s *shop) place(ctx context.Context, n int) error {
	o, err := s.send(ctx, bench.Order(n))
	if err == nil && o.Status != "confirmed" {
		err = fmt.Errorf("the order is %s", o.Status)
	}
	return err
}

// send posts an order. Error: *failure where it is refused.
func (s *shop) send(ctx context.Context, order *subjects.PlaceRequest) (*orderReply, error) {
	body, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // to its end, so that the connection is kept
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		refused := &failure{status: response.StatusCode}
		return nil, errors.Join(refused, json.Unmarshal(answer, &refused.refusal))
	}
	var reply orderReply
	return &reply, json.Unmarshal(answer, &reply)
}

// check counts what is stored: as many orders, payments and six facts for each as were confirmed, and what is reserved is what
// was ordered.
func (s *shop) check(ctx context.Context, placed int64) error {
	return s.db.with(ctx, func(ctx context.Context, c *pgx.Conn) error {
		for query, want := range map[string]int64{
			"SELECT count(*) FROM orders":         placed,
			"SELECT count(*) FROM gateway_ledger": placed,
			"SELECT count(*) FROM outbox":         6 * placed,
			"SELECT ((SELECT sum(reserved) FROM stock) - (SELECT coalesce(sum(quantity), 0) FROM order_lines))::bigint": 0,
		} {
			var n int64
			if err := c.QueryRow(ctx, query).Scan(&n); err != nil {
				return err
			}
			if n != want {
				return fmt.Errorf("%s: %d and not %d", query, n, want)
			}
		}
		return nil
	})
}

func (s *shop) close() error {
	s.http.CloseIdleConnections()
	var err error
	if s.service != nil {
		err = s.service.stop()
	}
	return errors.Join(err, s.db.stop())
}
