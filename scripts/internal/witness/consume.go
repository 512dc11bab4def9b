package witness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackWait is short, so that what was not acknowledged comes again within a run.
const ackWait = time.Second

// consume fetches and acknowledges most of what comes, some of it waiting for the answer, until ctx is done or the server
// is gone.
func (w *Witness) consume(ctx context.Context, url string, r *record) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nc, err := w.connect(url, cancel)
	if err != nil {
		return nil
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, r.Config.Name, Consumer)
	if err != nil {
		return gone(ctx, nc, err)
	}
	for ctx.Err() == nil {
		if err := w.fetch(ctx, r, consumer); err != nil {
			return gone(ctx, nc, err)
		}
	}
	return nil
}

func (w *Witness) fetch(ctx context.Context, r *record, consumer jetstream.Consumer) error {
	wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	batch, err := consumer.Fetch(64, jetstream.FetchContext(wait))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		if err := w.take(ctx, r, m, rand.IntN(10)); err != nil {
			return err
		}
	}
	return nil
}

// gone is the error, unless the end of the server explains it.
func gone(ctx context.Context, nc *nats.Conn, err error) error {
	if ctx.Err() != nil || !nc.IsConnected() {
		return nil
	}
	// The connection may not have noticed yet that nobody is there.
	if nc.FlushTimeout(5*time.Second) != nil {
		return nil
	}
	return err
}

// take looks at a delivered message and acknowledges it in one of ten ways.
func (w *Witness) take(ctx context.Context, r *record, m jetstream.Msg, how int) error {
	if m.Subject() != r.Subject {
		return m.Ack() // the bus's own
	}
	got, err := parse(m.Data())
	if err != nil {
		return fmt.Errorf("delivered from %s: %w", r.Config.Name, err)
	}
	if how == 0 {
		return nil // it comes again
	}
	w.consumed(r, got.number)
	if how == 1 {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = m.DoubleAck(wait)
		return nil
	}
	_ = m.Ack()
	return nil
}

// Drain fetches until everything that the consumers' streams hold has come, but for what they had acknowledged by then. What
// does not come is an error: the server skips it. Only with Now is that noted, because the store goes on.
func (w *Witness) Drain(ctx context.Context, url string, until int) error {
	nc, err := w.connect(url, func() {})
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, r := range w.streams {
		if !r.Consume || r.consuming > until {
			continue
		}
		if err := w.drain(ctx, nc, js, r, until); err != nil {
			return fmt.Errorf("consumer %s/%s: %w", r.Config.Name, Consumer, err)
		}
	}
	return nil
}

func (w *Witness) drain(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, r *record, until int) error {
	_, done := w.due(r, until, true)
	left := map[uint64]bool{}
	err := read(ctx, nc, r.Config.Name, r.Subject, 1, func(_ uint64, data []byte) {
		if m, err := parse(data); err == nil && !done[m.number] {
			left[m.number] = true
		}
	})
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, r.Config.Name, Consumer)
	if err != nil {
		return err
	}
	for idle := 0; len(left) > 0; idle++ {
		if idle == w.patience {
			return fmt.Errorf("%d messages that it has not acknowledged do not come, such as number %d", len(left), anyOf(left))
		}
		batch, err := consumer.Fetch(min(500, len(left)), jetstream.FetchMaxWait(ackWait)) // no more, so that the last need not wait
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			got, err := parse(m.Data())
			if err != nil && m.Subject() == r.Subject {
				return err
			}
			idle = -1 // also of those that were acknowledged some come again
			delete(left, got.number)
			if until == Now {
				w.consumed(r, got.number)
			}
			if err := m.Ack(); err != nil {
				return err
			}
		}
	}
	return nc.FlushTimeout(10 * time.Second)
}

func anyOf(left map[uint64]bool) (number uint64) {
	for number = range left {
		break
	}
	return number
}

// consumed notes that an acknowledgement is about to be sent.
func (w *Witness) consumed(r *record, number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, before := r.done[number]; !before {
		r.done[number] = w.now()
	}
}

// Take fetches so many messages from each consumer and has all but the first acknowledged.
func (w *Witness) Take(ctx context.Context, url string, each int) error {
	nc, err := w.connect(url, func() {})
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for _, r := range w.streams {
		if !r.Consume {
			continue
		}
		consumer, err := js.Consumer(ctx, r.Config.Name, Consumer)
		if err != nil {
			return err
		}
		batch, err := consumer.Fetch(each, jetstream.FetchMaxWait(10*time.Second)) // all of them: it waits for none if they are there
		if err != nil {
			return err
		}
		taken := 0
		for m := range batch.Messages() {
			if err := w.take(ctx, r, m, min(taken, 1)); err != nil {
				return err
			}
			taken++
		}
		if taken < each {
			return fmt.Errorf("consumer %s/%s gave %d messages of %d: %v", r.Config.Name, Consumer, taken, each, batch.Error())
		}
	}
	return nil
}
