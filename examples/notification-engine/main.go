// Command notification-engine is an example of a service that consumes events: it takes what is published on
// events.notifications.> and sends it out.
//
//	go run ./examples/notification-engine [nats://127.0.0.1:4222]
package main

import (
	"context"
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
	if err := run(ctx, url); err != nil {
		slog.Error("notification engine", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, nats.Name("notification-engine"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	// The bus has made it: a service neither creates nor changes a consumer.
	consumer, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
	if err != nil {
		return err
	}
	engine := &engine{seen: map[string]bool{}}
	// Without a short heartbeat it would take 30 s to notice that a pull request got lost.
	consuming, err := consumer.Consume(engine.handle, jetstream.PullHeartbeat(5*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { slog.Warn("consume", "error", err) }))
	if err != nil {
		return err
	}
	<-ctx.Done()
	consuming.Drain() // what was received already is handled
	<-consuming.Closed()
	return nil
}

type engine struct {
	seen map[string]bool // ids of events that were sent; a real engine keeps them where they survive
}

// handle gives up with reasons that hold nothing of the message: they lie in stream AUDIT, where nobody can erase them, and
// errors quote what they are about, such as a customer's address.
func (g *engine) handle(m jetstream.Msg) {
	e, err := event.Decode(m.Data())
	if err != nil {
		// It will not become valid by trying again.
		slog.Error("not an event", "subject", m.Subject(), "error", err)
		_ = m.TermWithReason("not an event")
		return
	}
	if g.seen[e.MsgID()] { // delivered again, because an acknowledgement got lost
		_ = m.Ack()
		return
	}
	switch err := send(e); {
	case errors.Is(err, errLater):
		_ = m.NakWithDelay(5 * time.Second) // and after three deliveries it is given up
	case err != nil:
		slog.Error("send", "event", e.ID, "error", err)
		_ = m.TermWithReason("the gateway refuses it")
	default:
		g.seen[e.MsgID()] = true
		_ = m.Ack()
	}
}

// errLater is returned by send when it may work later.
var errLater = errors.New("the gateway does not answer")

func send(e event.Event) error {
	_, err := fmt.Printf("sent %s %s %s\n", e.ID, e.Type, e.Data)
	return err
}
