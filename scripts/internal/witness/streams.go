package witness

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Streams are those of the bus and some that a client makes, of every kind that treats its files differently. Those of the
// bus are declared; a stock server is asked for them as well. With heavy, one stream's messages are so large that its blocks
// roll over every second or so, and another one keeps its last messages only, in small blocks: many come and go.
func Streams(declared, heavy bool) []Stream {
	bus := func(name string, minimum, maximum, window int) Stream {
		domain := "events." + strings.ToLower(name)
		return Stream{Declared: declared, Subject: domain + ".power.cut", Min: minimum, Max: maximum, Window: window,
			Config: jetstream.StreamConfig{Name: name, Subjects: []string{domain + ".*", domain + ".*.>"}, AllowDirect: true}}
	}
	own := func(s Stream) Stream {
		s.Subject = "witness." + strings.ToLower(s.Config.Name)
		s.Config.Subjects = []string{s.Subject}
		s.Config.AllowDirect = true
		return s
	}
	transactions := bus("TRANSACTIONS", 64, 1000, 4)
	transactions.Writers, transactions.Consume = 2, true
	risk := bus("RISK", 64, 500, 1)
	if heavy {
		risk = bus("RISK", 20_000, 100_000, 1)
	}
	streams := []Stream{
		transactions, risk,
		bus("COMPLIANCE", 64, 300, 1), bus("SETTLEMENT", 64, 300, 1), bus("CLEARING", 64, 300, 1),
		bus("NOTIFICATIONS", 64, 300, 1), bus("REPORTING", 64, 300, 1), bus("AUDIT", 64, 4000, 2),
		own(Stream{Config: jetstream.StreamConfig{Name: "PAYMENTS", Duplicates: time.Hour}, Min: 64, Max: 500, Window: 4, MsgID: true}),
		own(Stream{Config: jetstream.StreamConfig{Name: "BATCHES", AllowAtomicPublish: true}, Min: 64, Max: 300, Window: 1, Batch: 10}),
		own(Stream{Config: jetstream.StreamConfig{Name: "WORK", Retention: jetstream.WorkQueuePolicy}, Min: 64, Max: 300, Window: 2, Consume: true}),
	}
	if heavy {
		streams = append(streams, own(Stream{Config: jetstream.StreamConfig{Name: "RECENT", MaxMsgs: 100, MaxBytes: 128 << 10}, Min: 64, Max: 900, Window: 2, Keep: 100}))
	}
	return streams
}

// Declared leaves what a client makes out of Streams.
func Declared(streams []Stream) (some []Stream) {
	for _, s := range streams {
		if s.Declared {
			s.Consume = false
			some = append(some, s)
		}
	}
	return some
}
