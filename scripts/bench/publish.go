package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	stream  = "TRANSACTIONS"
	subject = "events.transactions.created"
)

// A bound ends a load: at so many messages, or after so much time.
type bound struct {
	messages int
	time     time.Duration
}

// A load is how messages are published.
type load struct {
	inFlight int
	async    bool // one goroutine that does not wait for an ack before it publishes the next; else so many that do
	size     int  // of a message, bytes
}

// filling is the load by which a stream is filled when publishing is not what is measured.
var filling = load{inFlight: 4000, async: true, size: 256}

func (l load) String() string {
	if l.async {
		return fmt.Sprintf("async window %d, %d B", l.inFlight, l.size)
	}
	return fmt.Sprintf("%d in flight, %d B", l.inFlight, l.size)
}

// rate publishes to an empty stream until the bound and returns the acknowledged messages a second. What was
// acknowledged has to be in the stream: exactly that.
func (l load) rate(ctx context.Context, nc *nats.Conn, b bound) (float64, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(l.inFlight+1))
	if err != nil {
		return 0, err
	}
	publish := l.publish
	if l.async {
		publish = l.publishAsync
	}
	begun := time.Now()
	acked, err := publish(ctx, js, b)
	took := time.Since(begun)
	if err != nil {
		return 0, err
	}
	return float64(acked) / took.Seconds(), holds(ctx, js, acked)
}

func (l load) publish(ctx context.Context, js jetstream.JetStream, b bound) (int, error) {
	var taken, acked atomic.Int64
	deadline := time.Now().Add(b.time)
	errs := make(chan error, l.inFlight)
	payload := make([]byte, l.size)
	var wg sync.WaitGroup
	for range l.inFlight {
		wg.Go(func() {
			for time.Now().Before(deadline) && taken.Add(1) <= int64(b.messages) {
				if _, err := js.Publish(ctx, subject, payload); err != nil {
					errs <- err
					return
				}
				acked.Add(1)
			}
		})
	}
	wg.Wait()
	close(errs)
	return int(acked.Load()), <-errs
}

func (l load) publishAsync(ctx context.Context, js jetstream.JetStream, b bound) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := time.Now().Add(b.time)
	window := make(chan jetstream.PubAckFuture, l.inFlight-2) // and one on its way in, and one waited for
	acked := make(chan int)
	go func() {
		n := 0
		for f := range window {
			select {
			case <-f.Ok():
				n++
			case err := <-f.Err():
				cancel(err)
			case <-ctx.Done():
			}
		}
		acked <- n
	}()
	payload := make([]byte, l.size)
	for n := 0; n < b.messages && time.Now().Before(deadline) && ctx.Err() == nil; n++ {
		f, err := js.PublishAsync(subject, payload, jetstream.WithStallWait(10*time.Second))
		if err != nil {
			cancel(err)
			break
		}
		window <- f
	}
	close(window)
	return <-acked, context.Cause(ctx)
}

// fill publishes exactly n messages.
func fill(ctx context.Context, nc *nats.Conn, n int) error {
	_, err := filling.rate(ctx, nc, bound{n, 5 * time.Minute})
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return holds(ctx, js, n)
}

// holds is an error unless the stream has n messages, the first to the n-th.
func holds(ctx context.Context, js jetstream.JetStream, n int) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	if state := s.CachedInfo().State; state.Msgs != uint64(n) || state.LastSeq != uint64(n) {
		return fmt.Errorf("%d messages, the last %d, are in %s; want %d", state.Msgs, state.LastSeq, stream, n)
	}
	return nil
}
