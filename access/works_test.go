package access_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a service is declared to do, it does with the clients as they are: both APIs of nats.go, no inbox prefix, no option.
func TestServicesWork(t *testing.T) {
	t.Parallel()
	b := start(t, declaration, `
[[streams]]
name = "NOTIFICATIONS"
[[streams.consumers]]
name = "notification-engine-consumer"
ack_wait = "300ms"
max_deliver = 100
`)
	ctx := t.Context()

	nc := b.connect(t, "token-engine")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ack, err := js.Publish(ctx, "events.transactions.created", []byte("{}"), jetstream.WithMsgID("1"))
		if err != nil || ack.Sequence != 1 || ack.Stream != "TRANSACTIONS" {
			t.Errorf("%+v, %v", ack, err)
		}
	}
	future, err := js.PublishAsync("events.transactions.created", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-future.Ok():
	case err := <-future.Err():
		t.Error(err)
	}
	old, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := old.Publish("events.transactions.created", []byte("{}")); err != nil || ack.Sequence != 3 {
		t.Errorf("%+v, %v", ack, err)
	}

	const n = 100
	for range n {
		if _, err := b.js.Publish(ctx, "events.notifications.sent", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	nc = b.connect(t, "notification-engine")
	con := consumer(t, nc, "NOTIFICATIONS", "notification-engine-consumer")
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	if s, err := js.Stream(ctx, "NOTIFICATIONS"); err != nil {
		t.Error(err)
	} else if _, err := s.Consumer(ctx, "notification-engine-consumer"); err != nil {
		t.Error(err)
	}
	done := 0
	one := func(m jetstream.Msg, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		done++
	}
	one(con.Next(jetstream.FetchMaxWait(5 * time.Second)))
	batch, err := con.Fetch(10, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		one(m, nil)
	}
	messages, err := con.Messages(jetstream.PullMaxMessages(2)) // what it asked for and did not hand out comes again
	if err != nil {
		t.Fatal(err)
	}
	for done < 30 {
		one(messages.Next())
	}
	messages.Stop()
	if old, err = nc.JetStream(); err != nil {
		t.Fatal(err)
	}
	sub, err := old.PullSubscribe("events.notifications.*", "notification-engine-consumer") // the specification's way
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := sub.Fetch(1, nats.MaxWait(5*time.Second))
	if err != nil || msgs[0].AckSync() != nil {
		t.Fatal(err)
	}
	var consumed atomic.Int64
	consuming, err := con.Consume(func(m jetstream.Msg) {
		if m.Ack() == nil {
			consumed.Add(1)
		}
	}, jetstream.PullMaxMessages(7), jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()
	await(t, "everything to be acknowledged", func() bool {
		info, err := con.Info(ctx)
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0
	})
}

func TestPushWorks(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	const n = 500 // with flow control under way
	for range n {
		if _, err := b.js.Publish(t.Context(), "events.risk.limit", make([]byte, 20_000)); err != nil {
			t.Fatal(err)
		}
	}
	js, err := b.connect(t, "risk-desk").JetStream()
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	if _, err := js.Subscribe("", func(m *nats.Msg) {
		if m.Ack() == nil {
			got.Add(1)
		}
	}, nats.Bind("RISK", "pushed"), nats.ManualAck()); err != nil {
		t.Fatal(err)
	}
	await(t, "all of it", func() bool { return got.Load() == n })
	await(t, "its acknowledgements", func() bool {
		info, err := js.ConsumerInfo("RISK", "pushed")
		return err == nil && info.NumAckPending == 0 && info.NumPending == 0
	})
}

// An observer can run status and plan, an operator apply; neither publishes.
func TestRoles(t *testing.T) {
	t.Parallel()
	b := start(t, declaration)
	b.fill(t)
	for user, may := range map[string]bool{"auditor": false, "on-call": true} {
		js, err := jetstream.New(b.connect(t, user), jetstream.WithDefaultTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		have, err := bootstrap.Observe(t.Context(), js)
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		wish := load(t, declaration, `
[[streams]]
name = "RISK"
max_age = "1d"
description = "changed by `+user+`"
`)
		plan := bootstrap.Diff(wish.Streams, have)
		if err := bootstrap.Weigh(t.Context(), js, plan); err != nil || plan.Empty() {
			t.Errorf("%s: %v: %v", user, plan, err)
		}
		ctx, cancel := t.Context(), func() {}
		if !may { // what is refused is not answered
			ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		}
		if _, err := bootstrap.Apply(ctx, js, plan, bootstrap.Allow{}); (err == nil) != may {
			t.Errorf("%s: apply: %v", user, err)
		}
		cancel()
	}
}
