package bustest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// notify is a small notification engine: it sends what comes, asks for what could not be sent again, and leaves it to
// the consumer to give up after three deliveries. Call stop to end it.
func notify(ctx context.Context, nc *nats.Conn, send func(text string) error) (stop func(), err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	consumer, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
	if err != nil {
		return nil, err
	}
	running, err := consumer.Consume(func(m jetstream.Msg) {
		if err := send(string(m.Data())); err != nil {
			_ = m.Nak()
			return
		}
		_ = m.Ack()
	})
	if err != nil {
		return nil, err
	}
	return running.Stop, nil
}

// Refund is what book publishes.
type Refund struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

// book is a small publisher.
func book(ctx context.Context, js jetstream.JetStream, r Refund) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = js.Publish(ctx, "events.transactions.refunded", data, jetstream.WithMsgID(r.ID))
	return err
}

// Testing an engine that consumes: publish, wait until there is nothing left to do, compare the counts. In a test the
// first line is bus := bustest.Run(t).
func Example_consumer() {
	bus := must(bustest.Start())
	defer bus.Close()

	stop := must(notify(context.Background(), bus.Conn(), func(text string) error {
		if text == "to nobody" {
			return errors.New("no such address")
		}
		return nil
	}))
	defer stop()

	bus.Publish("events.notifications.email.requested", "to somebody")
	bus.Publish("events.notifications.email.requested", "to nobody")

	n := bus.Consumer("NOTIFICATIONS", "notification-engine-consumer").AwaitIdle()
	fmt.Println("delivered", n.Delivered, "acked", n.Acked, "naked", n.Naked, "given up", n.GivenUp)
	// Output: delivered 4 acked 1 naked 3 given up 1
}

// Testing a publisher: what it stored, that the same event is stored once, and what it does when there is no room.
func Example_publisher() {
	bus := must(bustest.Start())
	defer bus.Close()
	ctx := context.Background()

	for range 2 {
		if err := book(ctx, bus.JetStream(), Refund{"r-7", 1250}); err != nil {
			log.Fatal(err)
		}
	}
	e := bus.Await("events.transactions.*", func(e bustest.Event) bool { return e.Header.Get("Nats-Msg-Id") == "r-7" })
	fmt.Println(e)
	fmt.Println(len(bus.Events("TRANSACTIONS")), "stored")

	release := bus.Fill("TRANSACTIONS")
	var full *jetstream.APIError
	err := book(ctx, bus.JetStream(), Refund{"r-8", 1})
	fmt.Println(errors.As(err, &full) && full.ErrorCode == 10077)
	release()
	fmt.Println(book(ctx, bus.JetStream(), Refund{"r-8", 1}))
	// Output:
	// TRANSACTIONS #1  events.transactions.refunded  {"id":"r-7","cents":1250}
	// 1 stored
	// true
	// <nil>
}

// An engine that hangs, and is replaced: its ack_wait of thirty seconds passes at once, and the next one
// takes over.
func ExampleConsumer_PassAckWait() {
	bus := must(bustest.Start())
	defer bus.Close()
	consumer := bus.Consumer("NOTIFICATIONS", "notification-engine-consumer")

	hangs, dead := make(chan struct{}), bus.Connect()
	stop := must(notify(context.Background(), dead, func(string) error { <-hangs; return nil }))
	bus.Publish("events.notifications.email.requested", "hello")
	consumer.Await(func(n bustest.Counts) bool { return n.AckPending == 1 })
	stop()
	bus.Disconnect(dead) // what it has asked for would still go to it

	stop = must(notify(context.Background(), bus.Connect(), func(string) error { return nil }))
	defer stop()
	consumer.PassAckWait()
	n := consumer.AwaitIdle()
	close(hangs)
	fmt.Println("delivered", n.Delivered, "redelivered", n.Redelivered, "acked", n.Acked)
	// Output: delivered 2 redelivered 1 acked 1
}

// One bus for all tests of a package is made in TestMain; each test takes it in its own hands. Most packages are better
// off with a bus a test: it costs three milliseconds, and there is nothing to clean up between them.
func ExampleStart() {
	// var shared *bustest.Bus
	//
	// func TestMain(m *testing.M) {
	//	var err error
	//	if shared, err = bustest.Start(); err != nil {
	//		log.Fatal(err)
	//	}
	//	code := m.Run()
	//	shared.Close()
	//	os.Exit(code)
	// }
	//
	// func TestRefund(t *testing.T) {
	//	bus := shared.For(t)
	//	…
	// }
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
