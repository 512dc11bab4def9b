package bustest

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is a durable consumer seen from outside: what was delivered and what became of it.
type Consumer struct {
	b *Bus
	k key
}

// Counts are a consumer's deliveries since the bus began, over Restart and Crash. The zero value is a consumer of a
// stream without events. Compare them with == once AwaitIdle has returned.
type Counts struct {
	Pending     int // not delivered yet
	AckPending  int // delivered and waiting for an answer, or for the time of the next delivery
	Delivered   int // deliveries, every repetition counted
	Redelivered int // those of them that were repetitions; only with ack_policy explicit, the default
	Acked       int // messages
	Naked       int // naks, each of them
	Terminated  int // messages: by term, or gone from the stream while they waited for an answer
	GivenUp     int // messages delivered max_deliver times
}

// Consumer is the consumer of that name. It fails if there is none.
func (b *Bus) Consumer(stream, name string) *Consumer {
	b.helper()()
	c := &Consumer{b, key{stream, name}}
	ctx, cancel := b.patient()
	defer cancel()
	if _, err := c.info(ctx); err != nil {
		b.fatalf("%s: %v", c, err)
	}
	return c
}

// String is STREAM/NAME.
func (c *Consumer) String() string { return c.k.stream + "/" + c.k.consumer }

// Counts are the counts now: all that was said before over Conn and connections of Connect is in them; of what a client
// says that came by URL, what has arrived.
func (c *Consumer) Counts() Counts {
	c.b.helper()()
	n, err := c.counts()
	if err != nil {
		c.b.fatalf("%s: %v", c, err)
	}
	return n
}

// Await returns the counts as soon as ok says yes to them. It fails within the timeout, with what happened to each
// message. JetStream gives up on a message when the ack_wait of its last delivery is over; after a nak of the last
// delivery, not before the next pull.
func (c *Consumer) Await(ok func(Counts) bool) Counts {
	c.b.helper()()
	n, err := Counts{}, error(nil)
	if !c.b.opts.until(func() bool { n, err = c.counts(); return err == nil && ok(n) }) {
		c.b.fatalf("%s: not as awaited after %s: %+v%s%s", c, c.b.opts.patience, n, c.notes(), why(err))
	}
	return n
}

// AwaitIdle waits until nothing of what is stored is left to deliver, and nothing waits for an answer. Where somebody
// has yet to publish, Await the event first.
func (c *Consumer) AwaitIdle() Counts {
	c.b.helper()()
	return c.Await(func(n Counts) bool { return n.Pending == 0 && n.AckPending == 0 })
}

func (c *Consumer) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	con, err := c.b.js().Consumer(ctx, c.k.stream, c.k.consumer)
	if err != nil {
		return nil, err
	}
	return con.CachedInfo(), nil
}

// counts looks at the consumer between two moments at which everything was heard, until nothing was said between the
// two: then all the counts are of one moment.
func (c *Consumer) counts() (Counts, error) {
	ctx, cancel := c.b.patient()
	defer cancel()
	w := c.b.watch
	c.b.flush(ctx)
	before, err := w.sync(ctx, c.k)
	for err == nil {
		i, e := c.info(ctx)
		if e != nil {
			return Counts{}, e
		}
		pending, e := c.b.pending(ctx, i)
		if e != nil {
			return Counts{}, e
		}
		var after int
		if after, err = w.sync(ctx, c.k); after == before && err == nil {
			return c.sum(i, pending), nil
		}
		before = after
	}
	return Counts{}, err
}

func (c *Consumer) sum(i *jetstream.ConsumerInfo, pending int) Counts {
	w := c.b.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.of(c.k)
	n := Counts{
		Pending:    pending,
		AckPending: i.NumAckPending,
		Delivered:  int(d.before + i.Delivered.Consumer),
		Acked:      len(d.acked),
		Naked:      d.naked,
		Terminated: d.terminated,
		GivenUp:    d.givenUp,
	}
	if i.Config.AckPolicy == jetstream.AckExplicitPolicy {
		n.Redelivered = max(0, n.Delivered-len(d.settled)-n.AckPending)
	}
	return n
}

// notes is what happened last, a line each.
func (c *Consumer) notes() string {
	w := c.b.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	notes := w.of(c.k).notes
	if len(notes) == 0 {
		return "\n    it was told nothing"
	}
	return "\n    " + strings.Join(notes, "\n    ")
}
