package event_test

import (
	"testing"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func BenchmarkDecode(b *testing.B) {
	in := []byte(good)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Decode(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e, err := event.Decode([]byte(good))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	data := struct {
		TransactionID string `json:"transaction_id"`
		Amount        string `json:"amount"`
		Currency      string `json:"currency"`
	}{"7", "1000.00", "USD"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.New("transaction.created", "token-engine", data); err != nil {
			b.Fatal(err)
		}
	}
}

// In memory, where nothing waits for a disk: what the Publisher itself costs, beside jetstream.
func BenchmarkPublish(b *testing.B) {
	bus := bustest.Run(b, bustest.WithTCP())
	nc, err := nats.Connect(bus.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	p, err := event.NewPublisher(nc)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(b.Context())
	e := numbered(1)
	b.Run("jetstream", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.ID = event.NewID()
			payload, err := e.Encode()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := js.Publish(b.Context(), created, payload, jetstream.WithMsgID(e.ID)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Publisher", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.ID = event.NewID()
			if _, err := p.Publish(b.Context(), created, e); err != nil {
				b.Fatal(err)
			}
		}
	})
}
