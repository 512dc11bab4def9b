package event_test

import (
	"testing"

	"github.com/deltran/deltran-bus/event"
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
