package event_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/event"
)

func ExamplePublisher() {
	bus, err := bustest.Start()
	if err != nil {
		panic(err)
	}
	defer bus.Close()
	ctx := context.Background()

	publisher, err := event.NewPublisher(bus.Conn()) // or any *nats.Conn
	if err != nil {
		panic(err)
	}
	e, err := event.New("transaction.created", "token-engine", map[string]string{"amount": "1000.00", "currency": "USD"})
	if err != nil {
		panic(err)
	}
	for range 2 { // trying again is safe
		ack, err := publisher.Publish(ctx, "events.transactions.created", e)
		fmt.Println(ack.Stream, ack.Sequence, ack.Duplicate, err)
	}

	// Without waiting for each: what is under way at the same time shares the syncs of the disk.
	future, err := publisher.PublishAsync(ctx, "events.audit.login", e)
	if err != nil {
		panic(err)
	}
	ack, err := future.Ack()
	fmt.Println(ack.Stream, ack.Sequence, ack.Duplicate, err)

	err = publisher.Close(ctx) // when all of them have their results
	_, closed := publisher.Publish(ctx, "events.audit.login", e)
	fmt.Println(err, errors.Is(closed, event.ErrClosed))
	// Output:
	// TRANSACTIONS 1 false <nil>
	// TRANSACTIONS 1 true <nil>
	// AUDIT 1 false <nil>
	// <nil> true
}

func ExampleDecode() {
	e, err := event.Decode([]byte(`{
		"event_id": "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99", "event_type": "transaction.created",
		"timestamp": "2025-11-06T12:00:00Z", "source": "token-engine", "version": "1.0",
		"data": {"amount": 1000.00, "currency": "USD"},
		"metadata": {"correlation_id": "11111111-2222-3333-4444-555555555555"}
	}`))
	fmt.Println(e.Type, e.Metadata.CorrelationID, err)
	fmt.Printf("%s\n", e.Data)

	_, err = event.Decode([]byte(`{"event_id": 7, "event_type": "created", "source": "token-engine", "version": "1.0", "data": {}}`))
	fmt.Println(err)
	// Output:
	// transaction.created 11111111-2222-3333-4444-555555555555 <nil>
	// {"amount": 1000.00, "currency": "USD"}
	// not a valid event: event_id is a number, not a string; event_type "created" is not of the form <entity>.<action>, in letters, digits, - and _, 200 at most; timestamp is missing
}

func ExampleParseSubject() {
	s, err := event.ParseSubject("events.clearing.window.opened")
	fmt.Println(s.Domain, s.Entity, s.Action, err)
	fmt.Println(s.Type())
	fmt.Println(event.Subject{Domain: "transactions", Action: "created"})
	// Output:
	// clearing window opened <nil>
	// window.opened
	// events.transactions.created
}
