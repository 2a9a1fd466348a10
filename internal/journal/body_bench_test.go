package journal

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	orders "waybill/internal/order"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// benchOrder is an order of two lines as it is placed and confirmed.
func benchOrder(b *testing.B) (events []orders.Event, states []orders.State) {
	at, err := timestamp.Parse("2026-01-02T03:04:05.678Z")
	if err != nil {
		b.Fatal(err)
	}
	line := orders.Line{SKU: "espresso", Name: "Espresso, 1 kg", Quantity: 2, UnitPrice: subjects.Money{Amount: 1250, Currency: "EUR"}, TaxRateBP: 1900}
	other := line
	other.SKU, other.Name, other.Quantity = "flat-white", "Flat white", 1
	commands := []orders.Command{
		orders.Place{OrderID: "k3jwtcqvn5s7hcs5m6p4xkq2ay", CustomerID: "customer-17", Lines: []orders.Line{line, other}, Fulfilment: orders.Ship, Method: orders.Card,
			Sealed: bytes.Repeat([]byte{0xa5}, 160), Token: bytes.Repeat([]byte{0x5a}, 48), RequestHash: strings.Repeat("ab", 32),
			PaymentID: "k3jwtcqvn5s7hcs5m6p4xkq2ay-pay", ReservationID: "k3jwtcqvn5s7hcs5m6p4xkq2ay-res", DueAt: at.Add(5e9), ExpiresAt: at.Add(9e11), At: at},
		orders.Confirm{At: at.Add(5e6)},
	}
	var s orders.State
	for _, c := range commands {
		e, err := orders.Decide(s, c)
		if err == nil {
			s, err = orders.Apply(s, e)
		}
		if err != nil {
			b.Fatal(err)
		}
		events, states = append(events, e), append(states, s)
	}
	return events, states
}

// BenchmarkBody writes and reads the bodies of an order's two events, with the codec alone and as the journal does.
func BenchmarkBody(b *testing.B) {
	events, states := benchOrder(b)
	var data, state [2]any
	var payloads, texts [2][]byte
	for i := range events {
		data[i], state[i] = events[i], states[i]
		payload, _, text, err := encodeBody(data[i], state[i])
		if err != nil {
			b.Fatal(err)
		}
		payloads[i], texts[i] = payload, text
	}
	b.Run("encode/codec", func(b *testing.B) {
		b.ReportAllocs()
		var buffer bytes.Buffer
		for b.Loop() {
			for i := range data {
				buffer.Reset()
				buffer.WriteString(beforeData)
				err := json.MarshalWrite(&buffer, data[i], json.Deterministic(true))
				buffer.WriteString(beforeState)
				if err == nil {
					err = json.MarshalWrite(&buffer, state[i], json.Deterministic(true))
				}
				buffer.WriteByte('}')
				if payload := bytes.Clone(buffer.Bytes()); err != nil || !bytes.Equal(payload, payloads[i]) {
					b.Fatalf("%s, %v", payload, err)
				}
			}
		}
	})
	b.Run("encode/quick", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range data {
				if _, _, _, err := encodeBody(data[i], state[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	reads := func(name string, body func([]byte) (body, error), read func([]byte, any) error) {
		b.Run("body/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range payloads {
					if _, err := body(p); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run("state/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range texts {
					var o orders.State
					if err := read(s, &o); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run("order_id/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range texts {
					var o struct {
						OrderID string `json:"order_id"`
					}
					if err := read(s, &o); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	reads("codec", anyBody, func(data []byte, into any) error { return json.Unmarshal(data, into) })
	reads("quick", decodeBody, quick.Unmarshal)
}
