package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What the order service is asked, and what it answers.
type (
	money struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
	}
	placeRequest struct {
		OrderID    string          `json:"order_id"`
		CustomerID string          `json:"customer_id"`
		Email      string          `json:"email"`
		Lines      []requestLine   `json:"lines"`
		Fulfilment string          `json:"fulfilment"`
		ShipTo     json.RawMessage `json:"ship_to,omitempty"`
		Payment    struct {
			Method string `json:"method"`
			Token  string `json:"token"`
		} `json:"payment"`
	}
	requestLine struct {
		SKU      string `json:"sku"`
		Quantity int64  `json:"quantity"`
	}
	orderLine struct {
		requestLine
		Name      string `json:"name"`
		UnitPrice money  `json:"unit_price"`
		TaxRateBP int64  `json:"tax_rate_bp"`
		Total     money  `json:"total"`
	}
	orderReply struct {
		OrderID    string      `json:"order_id"`
		Status     string      `json:"status"`
		CustomerID string      `json:"customer_id"`
		Lines      []orderLine `json:"lines"`
		Subtotal   money       `json:"subtotal"`
		Tax        money       `json:"tax"`
		Total      money       `json:"total"`
		PaymentID  string      `json:"payment_id"`
	}
	refusal struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
)

// failure is an error with the HTTP status that it is answered by.
type failure struct {
	status int
	refusal
}

func (f *failure) Error() string { return f.Message }

func refuse(status int, code, format string, args ...any) *failure {
	return &failure{status, refusal{code, fmt.Sprintf(format, args...)}}
}

// orders is the service: each order is one transaction, which is durable before the reply.
type orders struct{ pool *pgxpool.Pool }

// orderService runs the service, as a child.
func orderService(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("order-service", flag.ContinueOnError)
	url := f.String("db", "", "the database")
	connections := f.Int("conns", 0, "connections to it")
	if err := f.Parse(args); err != nil {
		return err
	}
	config, err := pgxpool.ParseConfig(*url)
	if err != nil {
		return err
	}
	config.MaxConns, config.MinConns = int32(*connections), int32(*connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := pool.Ping(ctx); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", (&orders{pool}).serve)
	s, err := serveHTTP(&http.Server{Handler: mux})
	if err != nil {
		return err
	}
	attend(ctx, s.address())
	return s.stop()
}

func (o *orders) serve(w http.ResponseWriter, r *http.Request) {
	reply, err := o.answer(http.MaxBytesReader(w, r.Body, 1<<20), r)
	w.Header().Set("Content-Type", "application/json")
	var refused *failure
	switch {
	case err == nil:
		json.NewEncoder(w).Encode(reply)
		return
	case !errors.As(err, &refused):
		refused = refuse(http.StatusInternalServerError, "internal", "%v", err)
	}
	w.WriteHeader(refused.status)
	json.NewEncoder(w).Encode(refused.refusal)
}

func (o *orders) answer(body io.Reader, r *http.Request) (*orderReply, error) {
	var request placeRequest
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid_argument", "%v", err)
	}
	if err := request.check(); err != nil {
		return nil, err
	}
	return o.place(r.Context(), &request)
}

// check looks at the request's shape, and puts the lines in the order of their SKUs.
func (r *placeRequest) check() error {
	invalid := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, "invalid_argument", format, args...)
	}
	switch {
	case r.OrderID == "" || len(r.OrderID) > 100 || r.CustomerID == "" || len(r.CustomerID) > 100:
		return invalid("order_id and customer_id must have 1 to 100 characters")
	case len(r.Lines) == 0 || len(r.Lines) > 100:
		return invalid("lines must be 1 to 100")
	case r.Fulfilment != "ship" && r.Fulfilment != "pickup":
		return invalid("fulfilment must be ship or pickup")
	case (r.Fulfilment == "ship") != (len(r.ShipTo) > 0):
		return invalid("ship_to must be there where the order is shipped, and only there")
	case r.Payment.Method != "card" && r.Payment.Method != "cash":
		return invalid("payment.method must be card or cash")
	}
	slices.SortFunc(r.Lines, func(a, b requestLine) int { return strings.Compare(a.SKU, b.SKU) })
	for i, l := range r.Lines {
		if l.Quantity < 1 || l.Quantity > 1_000_000 {
			return invalid("a quantity must be 1 to 1000000")
		}
		if i > 0 && l.SKU == r.Lines[i-1].SKU {
			return invalid("%s stands on two lines", l.SKU)
		}
	}
	return nil
}

const (
	readPrices = `SELECT sku, name, unit_price, currency, tax_rate_bp FROM catalog WHERE sku = ANY($1)`
	readOrder  = `SELECT customer_id, status, currency, subtotal, tax, total, request_hash FROM orders WHERE order_id = $1`
	readLines  = `SELECT sku, quantity, name, unit_price, tax_rate_bp, total FROM order_lines WHERE order_id = $1 ORDER BY position`

	insertOrder = `INSERT INTO orders (order_id, customer_id, email, status, fulfilment, ship_to, currency, subtotal, tax, total, request_hash)
		VALUES ($1, $2, $3, 'confirmed', $4, $5, $6, $7, $8, $9, $10)`
	insertLines = `INSERT INTO order_lines (order_id, position, sku, name, quantity, unit_price, tax_rate_bp, total)
		SELECT $1, * FROM unnest($2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::bigint[])`
	insertPayment = `INSERT INTO payments (payment_id, order_id, method, currency, authorized, status) VALUES ($1, $2, $3, $4, $5, 'authorized')`
	insertLedger  = `INSERT INTO gateway_ledger (payment_id, operation, currency, amount, outcome) VALUES ($1, 'authorize', $2, $3, 'approved')`
	insertFacts   = `INSERT INTO outbox (order_id, type, data) SELECT $1, * FROM unnest($2::text[], $3::jsonb[])`
	holdStock     = `UPDATE stock SET reserved = reserved + $2 WHERE sku = $1 AND on_hand - reserved >= $2`
)

// place carries the order to its outcome in one transaction of three round trips: what must be read; all that is written, with
// the stock last, so that its rows are locked for as short as can be; the commit.
func (o *orders) place(ctx context.Context, r *placeRequest) (*orderReply, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(content)
	c, err := o.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	reply, err := read(ctx, c, r, hash)
	if err != nil || reply.Status != "" {
		return reply, err
	}
	outcome, err := authorize(r.Payment.Token)
	if err != nil {
		return nil, err
	}
	reply.Status, reply.PaymentID = outcome, r.OrderID+"-pay"
	err = write(ctx, c, r, reply, hash)
	if err == nil {
		_, err = c.Exec(ctx, "commit")
	} else if _, undo := c.Exec(ctx, "rollback"); undo != nil {
		return nil, errors.Join(err, undo)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.ConstraintName == "orders_pkey" { // the same order was placed at the same moment
		return read(ctx, c, r, hash)
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// authorize is the sandbox gateway's decision; its books are written with the order. The answer is the order's status.
func authorize(token string) (string, error) {
	if token != "tok_ok" && token != "" {
		return "", refuse(http.StatusPaymentRequired, "payment_declined", "the payment was declined")
	}
	return "confirmed", nil
}

// read returns the stored order, or where there is none the priced one, without a status.
func read(ctx context.Context, c *pgxpool.Conn, r *placeRequest, hash [32]byte) (*orderReply, error) {
	skus := make([]string, len(r.Lines))
	for i, l := range r.Lines {
		skus[i] = l.SKU
	}
	b := &pgx.Batch{}
	b.Queue(readOrder, r.OrderID)
	b.Queue(readLines, r.OrderID)
	b.Queue(readPrices, skus)
	results := c.SendBatch(ctx, b)
	defer results.Close()

	reply := &orderReply{OrderID: r.OrderID}
	var before []byte
	var currency string
	err := results.QueryRow().Scan(&reply.CustomerID, &reply.Status, &currency, &reply.Subtotal.Amount, &reply.Tax.Amount, &reply.Total.Amount, &before)
	stored := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if stored && string(before) != string(hash[:]) {
		return nil, refuse(http.StatusConflict, "already_exists", "the order %s was placed with another content", r.OrderID)
	}
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	if reply.Lines, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l orderLine, err error) {
		return l, row.Scan(&l.SKU, &l.Quantity, &l.Name, &l.UnitPrice.Amount, &l.TaxRateBP, &l.Total.Amount)
	}); err != nil {
		return nil, err
	}
	if stored {
		reply.PaymentID = r.OrderID + "-pay"
		reply.price(currency)
		return reply, nil
	}
	rows, err = results.Query()
	if err != nil {
		return nil, err
	}
	items := make(map[string]orderLine, len(skus))
	var item orderLine
	if _, err := pgx.ForEachRow(rows, []any{&item.SKU, &item.Name, &item.UnitPrice.Amount, &item.UnitPrice.Currency, &item.TaxRateBP}, func() error {
		items[item.SKU] = item
		return nil
	}); err != nil {
		return nil, err
	}
	if err := reply.priced(r, items); err != nil {
		return nil, err
	}
	return reply, nil
}

// priced takes the lines and the sums from the items.
func (o *orderReply) priced(r *placeRequest, items map[string]orderLine) error {
	o.CustomerID = r.CustomerID
	for _, l := range r.Lines {
		item, ok := items[l.SKU]
		if !ok || item.UnitPrice.Currency != items[r.Lines[0].SKU].UnitPrice.Currency {
			return refuse(http.StatusUnprocessableEntity, "failed_precondition", "%s is not sold, or not in the currency of the others", l.SKU)
		}
		item.Quantity = l.Quantity
		item.Total.Amount = item.UnitPrice.Amount * l.Quantity
		o.Lines = append(o.Lines, item)
		o.Subtotal.Amount += item.Total.Amount
		o.Tax.Amount += (item.Total.Amount*item.TaxRateBP + 5000) / 10000
	}
	o.Total.Amount = o.Subtotal.Amount + o.Tax.Amount
	o.price(o.Lines[0].UnitPrice.Currency)
	return nil
}

// price says in which currency the order is.
func (o *orderReply) price(currency string) {
	o.Subtotal.Currency, o.Tax.Currency, o.Total.Currency = currency, currency, currency
	for i := range o.Lines {
		o.Lines[i].UnitPrice.Currency, o.Lines[i].Total.Currency = currency, currency
	}
}

// write begins the transaction and writes all of the order. It leaves it to the caller to end the transaction.
func write(ctx context.Context, c *pgxpool.Conn, r *placeRequest, o *orderReply, hash [32]byte) error {
	types, data, err := facts(r, o)
	if err != nil {
		return err
	}
	var (
		n                                = len(o.Lines)
		positions, taxes                 = make([]int32, n), make([]int32, n)
		skus, names                      = make([]string, n), make([]string, n)
		quantities, unitPrices, lineSums = make([]int64, n), make([]int64, n), make([]int64, n)
	)
	for i, l := range o.Lines {
		positions[i], skus[i], names[i], quantities[i] = int32(i), l.SKU, l.Name, l.Quantity
		unitPrices[i], taxes[i], lineSums[i] = l.UnitPrice.Amount, int32(l.TaxRateBP), l.Total.Amount
	}
	currency := o.Total.Currency
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue(insertOrder, o.OrderID, o.CustomerID, r.Email, r.Fulfilment, r.ShipTo, currency, o.Subtotal.Amount, o.Tax.Amount, o.Total.Amount, hash[:])
	b.Queue(insertLines, o.OrderID, positions, skus, names, quantities, unitPrices, taxes, lineSums)
	b.Queue(insertPayment, o.PaymentID, o.OrderID, r.Payment.Method, currency, o.Total.Amount)
	b.Queue(insertLedger, o.PaymentID, currency, o.Total.Amount)
	b.Queue(insertFacts, o.OrderID, types, data)
	others := b.Len()
	for _, l := range o.Lines { // in the order of their SKUs, so that no two transactions wait for each other
		b.Queue(holdStock, l.SKU, l.Quantity)
	}
	results := c.SendBatch(ctx, b)
	defer results.Close() // a second time does nothing
	for range others {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, l := range o.Lines {
		held, err := results.Exec()
		if err == nil && held.RowsAffected() == 0 {
			err = refuse(http.StatusUnprocessableEntity, "out_of_stock", "there is not enough of %s", l.SKU)
		}
		if err != nil {
			return err
		}
	}
	return results.Close()
}

// facts are what others are told about a confirmed order.
func facts(r *placeRequest, o *orderReply) (types, data []string, err error) {
	shipment := o.OrderID + "-s1"
	for _, f := range []struct {
		name string
		data any
	}{
		{"order.placed", o},
		{"reservation.held", map[string]any{"reservation_id": o.OrderID + "-res", "lines": r.Lines}},
		{"payment.authorized", map[string]any{"payment_id": o.PaymentID, "amount": o.Total}},
		{"order.confirmed", map[string]any{"order_id": o.OrderID, "total": o.Total}},
		{"shipment.planned", map[string]any{"shipment_id": shipment, "order_id": o.OrderID, "lines": r.Lines}},
		{"notification.queued", map[string]any{"order_id": o.OrderID, "email": r.Email, "template": "confirmed"}},
	} {
		text, err := json.Marshal(f.data)
		if err != nil {
			return nil, nil, err
		}
		types, data = append(types, f.name), append(data, string(text))
	}
	return types, data, nil
}
