package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// What the specification declares, in the order of its table.
var streams = []string{"TRANSACTIONS", "COMPLIANCE", "SETTLEMENT", "CLEARING", "NOTIFICATIONS", "REPORTING", "RISK", "AUDIT"}

// A consumer is one of the two durables.
type consumer struct {
	stream, name, filter string
	ackWait              time.Duration
}

var consumers = []consumer{
	{"NOTIFICATIONS", "notification-engine-consumer", "events.notifications.*", 30 * time.Second},
	{"REPORTING", "reporting-engine-consumer", "events.reporting.*", 5 * time.Minute},
}

// maxDeliver is how often either consumer delivers a message that nobody acknowledges.
const maxDeliver = 3

// names are an event of three and of four tokens for each stream; the first of every pair is how the specification
// writes most of its examples, the second its own events.clearing.window.opened.
func names(domain string) []string {
	return []string{"events." + domain + ".created", "events." + domain + ".window.opened"}
}

// newEvent is an envelope as the specification's Rust publisher makes it.
func newEvent() []byte {
	event, err := json.Marshal(map[string]any{
		"event_id":   rand.Text(),
		"event_type": "transaction.created",
		"timestamp":  time.Now().UTC(),
		"source":     "token-engine",
		"version":    "1.0",
		"data":       map[string]any{"transaction_id": rand.Text(), "amount": 1000.00, "currency": "USD"},
	})
	if err != nil {
		panic(err) // a map of strings and numbers
	}
	return event
}

func same[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
