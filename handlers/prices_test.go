package handlers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/internal/scope"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// TestPricesAreKeptOnceAWriteIsDecided plays the orders in which a process can hear of writes and read an item.
func TestPricesAreKeptOnceAWriteIsDecided(t *testing.T) {
	const sku = id.SKU("melon")
	unknown := uint64(journal.Unnamed)
	type bench struct {
		*Prices
		began time.Time
		done  func(uint64)
	}
	heard := func(expects uint64) func(*bench) { return func(b *bench) { b.forget(sku, expects, 0) } }
	puts := func(b *bench) { b.done = b.Writing(sku) }
	answered := func(sequence uint64) func(*bench) { return func(b *bench) { b.done(sequence) } }
	passes := func(d time.Duration) func(b *bench) { // all that happened was so long ago
		return func(b *bench) {
			for sku, w := range b.writes {
				w.at, w.unnamed = w.at.Add(-d), w.unnamed.Add(-d)
				b.writes[sku] = w
			}
			b.began, b.since = b.began.Add(-d), b.since.Add(-d)
		}
	}
	later, soon := passes(2*settledAfter), passes(settledAfter/40)
	nearly := passes(settledAfter - settledAfter/50)
	drops := func(b *bench) { b.full = 0; b.forget("lemon", 0, 0) }
	asks := func(b *bench) { b.began = time.Now() }
	reconnected := func(b *bench) { b.since = time.Now() }
	reads := func(sequence uint64) func(*bench) {
		return func(b *bench) { b.keep(map[id.SKU]keptItem{sku: {sequence: sequence}}, journal.Session{}, b.began) }
	}
	for name, c := range map[string]struct {
		steps []func(*bench)
		kept  uint64
	}{
		"no write":                                     {[]func(*bench){asks, reads(5)}, 5},
		"a write that is on its way":                   {[]func(*bench){heard(5), asks, reads(5)}, 0},
		"a write that has arrived":                     {[]func(*bench){heard(5), asks, reads(6)}, 6},
		"the first write of an item":                   {[]func(*bench){heard(0), asks, reads(1)}, 1},
		"a write that is heard of during the read":     {[]func(*bench){asks, heard(5), reads(5)}, 0},
		"a write that is heard of after the read":      {[]func(*bench){asks, reads(5), heard(5)}, 0},
		"a write that is read before it is heard of":   {[]func(*bench){asks, reads(6), heard(5), asks, reads(6)}, 6},
		"two writes, the second on its way":            {[]func(*bench){heard(5), heard(6), asks, reads(6)}, 0},
		"two writes, heard of in the other order":      {[]func(*bench){heard(6), heard(5), asks, reads(6)}, 0},
		"two writes of the same expectation":           {[]func(*bench){heard(5), heard(5), asks, reads(6)}, 6},
		"a slow read that is overtaken":                {[]func(*bench){asks, heard(5), reads(6), reads(5)}, 6},
		"a slow read from before a write":              {[]func(*bench){asks, heard(5), later, drops, reads(5)}, 0},
		"a write that failed, at first":                {[]func(*bench){heard(5), asks, reads(5)}, 0},
		"a write that failed, in the end":              {[]func(*bench){heard(5), later, asks, reads(5)}, 5},
		"a write of which nothing is known":            {[]func(*bench){heard(unknown), asks, reads(99)}, 0},
		"one after another of which nothing was known": {[]func(*bench){heard(unknown), later, heard(5), asks, reads(6)}, 6},
		"one after another of which nothing is known":  {[]func(*bench){heard(unknown), soon, heard(5), asks, reads(6)}, 0},
		"one of long ago, with others ever since":      {[]func(*bench){heard(unknown), nearly, heard(5), nearly, heard(6), asks, reads(7)}, 7},
		"a slow read, while others are dropped":        {[]func(*bench){heard(5), soon, asks, nearly, drops, reads(5)}, 0},
		"a slow read, with a write that comes late":    {[]func(*bench){heard(5), soon, asks, nearly, heard(4), reads(5)}, 0},
		"a write that nobody heard before a reconnect": {[]func(*bench){reconnected, soon, asks, reads(5)}, 0},
		"a while after a reconnect":                    {[]func(*bench){reconnected, later, asks, reads(5)}, 5},
		"a put that is under way":                      {[]func(*bench){puts, asks, reads(6)}, 0},
		"a put that has long been under way":           {[]func(*bench){puts, later, asks, reads(6)}, 0},
		"a put that was answered, read before it":      {[]func(*bench){asks, puts, answered(6), reads(5)}, 0},
		"a put that was answered":                      {[]func(*bench){puts, answered(6), asks, reads(6)}, 6},
		"a put that was answered, with a later write":  {[]func(*bench){puts, heard(6), answered(6), asks, reads(6)}, 0},
		"a put that failed":                            {[]func(*bench){puts, answered(0), asks, reads(5)}, 0},
		"two puts, one of them answered":               {[]func(*bench){puts, puts, answered(6), asks, reads(6)}, 0},
	} {
		b := &bench{Prices: NewPrices("local")}
		for _, step := range c.steps {
			step(b)
		}
		if is := b.items[sku].sequence; is != c.kept {
			t.Errorf("%s: event %d is kept, want %d", name, is, c.kept)
		}
	}
}

// TestWritesToPricesAreForgotten imports a catalog: what is remembered of it has an end, but for what is under way.
func TestWritesToPricesAreForgotten(t *testing.T) {
	p := NewPrices("local")
	done := p.Writing("open")
	for i := range fewWrites {
		p.forget(id.SKU(fmt.Sprintf("old-%d", i)), 0, 0)
	}
	for sku, w := range p.writes {
		w.at = w.at.Add(-3 * settledAfter)
		p.writes[sku] = w
	}
	for i := range 2 * fewWrites {
		p.forget(id.SKU(fmt.Sprintf("new-%d", i)), 0, 0)
	}
	if is := len(p.writes); is != 2*fewWrites+1 || p.writes["open"].open != 1 {
		t.Errorf("%d writes are remembered, want %d; under way are %d", is, 2*fewWrites+1, p.writes["open"].open)
	}
	if p.full <= len(p.writes) {
		t.Errorf("each of %d writes has all of them looked through", len(p.writes))
	}
	done(0)
}

// TestPricesOfTwoWriters has two processes put prices at once while orders ask for them: whoever asks after the answer to a put of
// its own process has that price or a later one, and once all is quiet the last price is kept, without ten seconds' wait.
func TestPricesOfTwoWriters(t *testing.T) {
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	process := func() (*Catalog, *Prices) {
		j, err := journal.Open(bed.Connect(), journal.Options{Site: journaltest.Site, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		p := NewPrices(journaltest.Site)
		stop, err := p.Watch(j)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		return NewCatalog(j, nil, p, journaltest.Site, time.Now), p
	}
	const sku = id.SKU("melon")
	var work sync.WaitGroup
	var all []*Prices
	for n := range int64(2) {
		catalog, prices := process()
		all = append(all, prices)
		ask := func(least uint64) error {
			s := scope.New("")
			ctx := scope.With(t.Context(), s)
			items, err := prices.Of(ctx, []id.SKU{sku})
			if err != nil {
				return err
			}
			if is := s.Highest(); is < least {
				return fmt.Errorf("event %d was told of (%v), after the answer of %d", is, items[sku].UnitPrice, least)
			}
			return nil
		}
		stop := make(chan struct{})
		for range 2 {
			work.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := ask(0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		work.Go(func() {
			defer close(stop)
			for i := range int64(150) {
				s := scope.New("")
				ctx := scope.With(t.Context(), s)
				_, err := catalog.put(ctx, &subjects.PutItemRequest{SKU: sku, Name: "Melon", UnitPrice: subjects.Money{Amount: 1000*n + i, Currency: "EUR"}})
				if err == nil {
					err = ask(s.Highest())
				}
				if err != nil {
					t.Error(err)
					return
				}
				if rand.IntN(4) == 0 {
					time.Sleep(time.Millisecond) // others keep what they read
				}
			}
		})
	}
	work.Wait()
	for n, p := range all {
		read, err := prices(t.Context(), p.journal, journaltest.Site, []id.SKU{sku})
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(settledAfter / 2)
		for { // the last signal may still be on its way
			items, err := p.Of(t.Context(), []id.SKU{sku})
			if err != nil {
				t.Fatal(err)
			}
			if _, missing, _, _ := p.kept(t.Context(), []id.SKU{sku}); len(missing) == 0 && items[sku] == read[sku].item {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %d: %v is kept, the catalog has %v", n, p.items, read[sku])
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// TestPricesAfterALostWrite has a write lose its compare-and-set: it is heard of, and decided by the one that won.
func TestPricesAfterALostWrite(t *testing.T) {
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	j, err := journal.Open(bed.Connect(), journal.Options{Site: journaltest.Site, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPrices(journaltest.Site)
	stop, err := p.Watch(j)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	put := func() error {
		_, err := j.Append(t.Context(), journal.Entry{
			Subject: subjects.Event(journaltest.Site, subjects.KindCatalog, "melon"), Kind: subjects.KindCatalog, Event: "put",
			Time: timestamp.Of(time.Now()), Data: subjects.Item{SKU: "melon"}, State: subjects.Item{SKU: "melon"},
		})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := put(); !errors.Is(err, journal.ErrConflict) {
		t.Fatalf("the second first event: %v", err)
	}
	for deadline := time.Now().Add(settledAfter / 2); ; time.Sleep(time.Millisecond) {
		if _, err := p.Of(t.Context(), []id.SKU{"melon"}); err != nil {
			t.Fatal(err)
		}
		if _, missing, _, _ := p.kept(t.Context(), []id.SKU{"melon"}); len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not kept: %+v", p.writes)
		}
	}
}

// TestPricesAfterAReconnect has another process write while the signals' connection breaks, so that some writes are not heard of, and what is
// kept grow old: the price of now is told all the same.
func TestPricesAfterAReconnect(t *testing.T) {
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	nc := bed.Connect()
	open := func(nc *nats.Conn) *journal.Journal {
		j, err := journal.Open(nc, journal.Options{Site: journaltest.Site, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	p, other := NewPrices(journaltest.Site), open(bed.Connect())
	p.settled = 20 * time.Millisecond // each write is answered before anything is read
	stop, err := p.Watch(open(nc))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	const sku = id.SKU("melon")
	var last journal.Record
	price := int64(0)
	put := func() {
		t.Helper()
		price++
		item := subjects.Item{SKU: sku, Name: "Melon", UnitPrice: subjects.Money{Amount: price, Currency: "EUR"}}
		last, err = other.Append(t.Context(), journal.Entry{
			Subject: subjects.Event(journaltest.Site, subjects.KindCatalog, string(sku)), Kind: subjects.KindCatalog, Event: "put",
			Time: timestamp.Of(time.Now()), Data: item, State: item, Previous: last,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	of := func() (amount int64, kept bool) {
		t.Helper()
		items, err := p.Of(t.Context(), []id.SKU{sku})
		if err != nil {
			t.Fatal(err)
		}
		_, missing, _, _ := p.kept(t.Context(), []id.SKU{sku})
		return items[sku].UnitPrice.Amount, len(missing) == 0
	}
	put()
	for deadline := time.Now().Add(time.Minute); price < 30; {
		if time.Now().After(deadline) {
			t.Fatal("the time ran out")
		}
		if _, kept := of(); !kept {
			continue
		}
		before, began := nc.Stats().Reconnects, time.Now()
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		put()
		for nc.Stats().Reconnects == before || !nc.IsConnected() {
			if time.Now().After(deadline) {
				t.Fatal("the connection does not come back")
			}
			time.Sleep(100 * time.Microsecond)
		}
		if is, _ := of(); is != price {
			t.Fatalf("the price is %d, and %d is told after a reconnect", price, is)
		}
		for kept := false; !kept; _, kept = of() {
			if time.Now().After(deadline) {
				t.Fatal("nothing is kept any more")
			}
		}
		if p.mu.Lock(); p.since.Before(began) {
			t.Error("a price was kept at once after a reconnect")
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	is := p.items[sku]
	is.item.UnitPrice.Amount, is.began = -1, is.began.Add(-keptFor)
	p.items[sku] = is
	p.mu.Unlock()
	if is, _ := of(); is != price {
		t.Errorf("%d is told where %d was kept for a minute", is, price)
	}
}
