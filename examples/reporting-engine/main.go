// Command reporting-engine is an example of a service that works in batches: it takes events from events.reporting.> by
// the hundred, writes a report of them, and publishes that the report is there. What is acknowledged is done.
//
//	go run ./examples/reporting-engine [nats://127.0.0.1:4222]
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	url := nats.DefaultURL
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := run(ctx, url); err != nil && ctx.Err() == nil {
		slog.Error("reporting engine", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) (err error) {
	nc, err := nats.Connect(url, nats.Name("reporting-engine"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, "REPORTING", "reporting-engine-consumer")
	if err != nil {
		return err
	}
	publisher, err := event.NewPublisher(nc)
	if err != nil {
		return err
	}
	defer func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, publisher.Close(drain))
	}()
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(100, jetstream.FetchMaxWait(5*time.Second), jetstream.FetchHeartbeat(2*time.Second))
		if err != nil {
			return err
		}
		var taken []jetstream.Msg
		var events []event.Event
		for m := range batch.Messages() {
			e, err := event.Decode(m.Data())
			if err != nil {
				slog.Error("not an event", "subject", m.Subject(), "error", err)
				// Not the error, which quotes the message: the reason lies in stream AUDIT, where nobody can erase it.
				_ = m.TermWithReason("not an event")
				continue
			}
			taken, events = append(taken, m), append(events, e)
		}
		if err := batch.Error(); err != nil {
			slog.Warn("fetch", "error", err) // such as a heartbeat that did not come: what was fetched is good
		}
		if len(events) == 0 {
			continue
		}
		if err := report(ctx, publisher, events); err != nil {
			return err // nothing is acknowledged: all of it comes again
		}
		for _, m := range taken {
			if err := m.DoubleAck(ctx); err != nil { // waits until the bus knows
				return err
			}
		}
	}
	return nil
}

// report writes the report, and says that it is there. Its id is made of the first event's, so that the event of a report
// that has to be made again is stored once.
func report(ctx context.Context, publisher *event.Publisher, events []event.Event) error {
	first, last := events[0], events[len(events)-1]
	fmt.Printf("report of %d events, from %s to %s\n", len(events), first.ID, last.ID)
	e, err := event.New("report.written", "reporting-engine", map[string]any{"events": len(events), "first": first.ID, "last": last.ID})
	if err != nil {
		return err
	}
	h := sha256.Sum256([]byte("report " + first.MsgID()))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // a UUID of version 8
	e.ID = fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
	_, err = publisher.Publish(ctx, "events.audit.report.written", e)
	return err
}
