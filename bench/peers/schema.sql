-- The store of the order service that Waybill is measured beside.
CREATE TABLE catalog (
	sku text PRIMARY KEY, name text NOT NULL, unit_price bigint NOT NULL, currency text NOT NULL, tax_rate_bp integer NOT NULL
);
CREATE TABLE stock (
	sku text PRIMARY KEY REFERENCES catalog, on_hand bigint NOT NULL, reserved bigint NOT NULL DEFAULT 0,
	CHECK (0 <= reserved AND reserved <= on_hand)
);
CREATE TABLE orders (
	order_id text PRIMARY KEY, customer_id text NOT NULL, email text NOT NULL, status text NOT NULL, fulfilment text NOT NULL,
	ship_to jsonb, currency text NOT NULL, subtotal bigint NOT NULL, tax bigint NOT NULL, total bigint NOT NULL,
	request_hash bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_of_customer ON orders (customer_id, created_at);
CREATE TABLE order_lines (
	order_id text NOT NULL REFERENCES orders, position integer NOT NULL, sku text NOT NULL, name text NOT NULL,
	quantity bigint NOT NULL, unit_price bigint NOT NULL, tax_rate_bp integer NOT NULL, total bigint NOT NULL,
	PRIMARY KEY (order_id, position)
);
CREATE TABLE payments (
	payment_id text PRIMARY KEY, order_id text NOT NULL UNIQUE REFERENCES orders, method text NOT NULL, currency text NOT NULL,
	authorized bigint NOT NULL, status text NOT NULL
);
-- The sandbox gateway's own books.
CREATE TABLE gateway_ledger (
	payment_id text NOT NULL, operation text NOT NULL, currency text NOT NULL, amount bigint NOT NULL, outcome text NOT NULL,
	at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (payment_id, operation)
);
-- Facts for others, in the order of their commit's writer; a relay would publish and delete them.
CREATE TABLE outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL, type text NOT NULL, data jsonb NOT NULL,
	at timestamptz NOT NULL DEFAULT now()
);
