package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// received is how messages are taken out of a stream: in batches of so many, or, at 0, as they come.
type received int

func (r received) String() string {
	if r == 0 {
		return "consume"
	}
	return fmt.Sprintf("fetch %d", int(r))
}

// rate takes n messages, acknowledges every one, and returns the messages a second until the server has all
// acknowledgements. The consumer has to know each of them afterwards.
func (r received) rate(ctx context.Context, nc *nats.Conn, n int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	c, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000,
	})
	if err != nil {
		return 0, err
	}
	take := r.fetch
	if r == 0 {
		take = consume
	}
	begun := time.Now()
	if err := take(ctx, c, n); err != nil {
		return 0, err
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(begun).Seconds(), acknowledged(ctx, c, n)
}

func (r received) fetch(ctx context.Context, c jetstream.Consumer, n int) error {
	for left := n; left > 0; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of %d messages missing: %w", left, n, err)
		}
		batch, err := c.Fetch(min(left, int(r)), jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			if err := m.Ack(); err != nil {
				return err
			}
			left--
		}
		if err := batch.Error(); err != nil {
			return err
		}
	}
	return nil
}

func consume(ctx context.Context, c jetstream.Consumer, n int) error {
	done := make(chan error, 1)
	left := n
	running, err := c.Consume(func(m jetstream.Msg) {
		err := m.Ack()
		if left--; left == 0 || err != nil {
			select {
			case done <- err:
			default:
			}
		}
	}, jetstream.PullHeartbeat(time.Second)) // the shortest: a pull that nobody answers is asked again
	if err != nil {
		return err
	}
	defer running.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("consume: %w", ctx.Err())
	}
}

// acknowledged waits until the consumer has seen n acknowledgements, and is an error if it does not.
func acknowledged(ctx context.Context, c jetstream.Consumer, n int) error {
	for {
		info, err := c.Info(ctx)
		if err != nil {
			return err
		}
		if info.AckFloor.Stream == uint64(n) && info.NumAckPending == 0 && info.NumPending == 0 {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("acknowledged up to %d of %d: %w", info.AckFloor.Stream, n, ctx.Err())
		}
	}
}
