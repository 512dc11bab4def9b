package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	grouping = "Events by the Publisher beside single publishes, sync always, 256 B, acknowledged a second"
	patience = "Events by the Publisher beside single publishes, sync always, 256 B, 99th percentile of an ack, milliseconds"
)

// grouped are the cases of group commit: on the stock server every event is published alone, by jetstream with its
// Nats-Msg-Id; on the bus by the Publisher.
func grouped(set settings, work string) (all []*scenario) {
	single := func(w *way) bool { return strings.HasPrefix(w.name, "nats-server") }
	add := func(group string, l load, least *limit, figure func(rate float64, waits []time.Duration) float64) {
		all = append(all, &scenario{group: group, name: l.name(), required: least, library: true,
			take: func(ctx context.Context, w *way) (float64, error) {
				return w.fresh(ctx, work, "always", func(_ *instance, nc *nats.Conn) (float64, error) {
					rate, waits, err := l.events(ctx, nc, set.load, single(w))
					return figure(rate, waits), err
				})
			}})
	}
	rate := func(rate float64, _ []time.Duration) float64 { return rate }
	for _, c := range []struct {
		load
		least float64
	}{{load{1, false, 256}, 1}, {load{8, false, 256}, 1}, {load{64, false, 256}, 2.5}, {load{512, false, 256}, 10}, {load{4000, true, 256}, 15}} {
		add(grouping, c.load, ratioFrom(c.least), rate)
	}
	for _, n := range []int{1, 8, 64, 512} {
		var least *limit
		if n == 64 {
			least = ratioTo(1)
		}
		add(patience, load{n, false, 256}, least, func(_ float64, waits []time.Duration) float64 {
			if len(waits) == 0 {
				return 0
			}
			return float64(waits[len(waits)*99/100]) / float64(time.Millisecond)
		})
	}
	return all
}

func (l load) name() string {
	if l.async {
		return fmt.Sprintf("async window %d", l.inFlight)
	}
	return fmt.Sprintf("%d in flight", l.inFlight)
}

// events publishes events until the bound, and returns those acknowledged a second, and how long each waited, the
// shortest first. What was acknowledged has to be in the stream: exactly that.
func (l load) events(ctx context.Context, nc *nats.Conn, b bound, single bool) (float64, []time.Duration, error) {
	var publish func(context.Context, event.Event) (result, error)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(l.inFlight+1))
	if err != nil {
		return 0, nil, err
	}
	switch {
	case single && l.async:
		publish = func(ctx context.Context, e event.Event) (result, error) {
			payload, err := e.Encode()
			if err != nil {
				return nil, err
			}
			f, err := js.PublishAsync(subject, payload, jetstream.WithMsgID(e.ID), jetstream.WithStallWait(10*time.Second))
			return func() error {
				select {
				case <-f.Ok():
					return nil
				case err := <-f.Err():
					return err
				}
			}, err
		}
	case single:
		publish = func(ctx context.Context, e event.Event) (result, error) {
			payload, err := e.Encode()
			if err == nil {
				_, err = js.Publish(ctx, subject, payload, jetstream.WithMsgID(e.ID))
			}
			return nil, err
		}
	default:
		p, err := event.NewPublisher(nc)
		if err != nil {
			return 0, nil, err
		}
		defer p.Close(context.WithoutCancel(ctx))
		publish = func(ctx context.Context, e event.Event) (result, error) {
			_, err := p.Publish(ctx, subject, e)
			return nil, err
		}
		if l.async {
			publish = func(ctx context.Context, e event.Event) (result, error) {
				f, err := p.PublishAsync(ctx, subject, e)
				return func() error { _, err := f.Ack(); return err }, err
			}
		}
	}
	// The Publisher learns what publishing costs here in its first moments: those of a service are long ago.
	first, err := l.run(ctx, b, publish)
	if err != nil {
		return 0, nil, err
	}
	begun := time.Now()
	waits, err := l.run(ctx, b, publish)
	took := time.Since(begun)
	if err != nil {
		return 0, nil, err
	}
	slices.Sort(waits)
	return float64(len(waits)) / took.Seconds(), waits, holds(ctx, js, len(first)+len(waits))
}

// result waits for what becomes of an event.
type result func() error

// run publishes by as many as are in flight, or by one who does not wait, until the bound; and returns how long each
// event waited.
func (l load) run(ctx context.Context, b bound, publish func(context.Context, event.Event) (result, error)) (waits []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken atomic.Int64
	deadline := time.Now().Add(b.time)
	next := func() (event.Event, bool) {
		if time.Now().After(deadline) || taken.Add(1) > int64(b.messages) || ctx.Err() != nil {
			return event.Event{}, false
		}
		e, err := event.New("transaction.created", "token-engine", padding)
		if err != nil {
			cancel(err)
		}
		return e, err == nil
	}
	if l.async {
		window := make(chan func(), l.inFlight-2) // and one on its way in, and one waited for
		done := make(chan struct{})
		go func() {
			defer close(done)
			for wait := range window {
				wait()
			}
		}()
		for e, ok := next(); ok; e, ok = next() {
			begun := time.Now()
			r, err := publish(ctx, e)
			if err != nil {
				cancel(err)
				break
			}
			window <- func() {
				if err := r(); err != nil {
					cancel(err)
				}
				waits = append(waits, time.Since(begun))
			}
		}
		close(window)
		<-done
		return waits, context.Cause(ctx)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range l.inFlight {
		wg.Go(func() {
			var own []time.Duration
			for e, ok := next(); ok; e, ok = next() {
				begun := time.Now()
				if _, err := publish(ctx, e); err != nil {
					cancel(err)
					break
				}
				own = append(own, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, own...)
		})
	}
	wg.Wait()
	return waits, context.Cause(ctx)
}

// padding is the data with which an event takes 256 bytes as JSON.
var padding = func() json.RawMessage {
	data := func(n int) json.RawMessage { return json.RawMessage(`{"pad":"` + strings.Repeat("x", n) + `"}`) }
	e, err := event.New("transaction.created", "token-engine", data(0))
	if err != nil {
		panic(err)
	}
	e.Timestamp = time.Date(2025, 11, 6, 12, 0, 0, 123456000, time.UTC)
	text, err := e.Encode()
	if err != nil {
		panic(err)
	}
	return data(max(0, 256-len(text)))
}()
