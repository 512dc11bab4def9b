package event

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// answered is the result of an event that was sent alone.
func (l *lane) answered(it *item, ack Ack, err error) {
	now := time.Now()
	l.flying--
	l.pace.acked(now, l.flying > 0)
	if err == nil {
		l.learn(it, ack.Stream)
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) && l.known[it.subject] && it.tries < tries {
		it.tries++ // the server is stopping, or the stream is without a leader
		l.requeue([]*item{it}, now)
		l.rest(now)
		return
	}
	l.p.finish(it, ack, err)
	l.pump()
}

const (
	tries = 8 // of an event for which no stream answers, although one did
	rest  = 250 * time.Millisecond
)

// rest sends nothing for a moment.
func (l *lane) rest(now time.Time) {
	if now.Before(l.pause) {
		return
	}
	l.pause = now.Add(rest)
	time.AfterFunc(rest, func() {
		l.p.mu.Lock()
		defer l.p.unlock()
		l.pump()
	})
}

func (l *lane) learn(it *item, stream string) {
	const many = 1000
	if !l.known[it.subject] {
		if l.known == nil || len(l.known) >= many {
			l.known = map[string]bool{}
		}
		l.known[it.subject] = true
	}
	if l.stream == "" {
		l.stream = stream
	}
	l.mixed = l.mixed || l.stream != stream
}

// answer ends the waiting for the answer to a batch.
func (l *lane) answer(b *batch) {
	l.committing = nil
	delete(b.link.commits, b.token)
}

// committed is the answer to a batch that is stored.
func (l *lane) committed(b *batch, ack Ack) {
	now := time.Now()
	n := len(b.items)
	l.answer(b)
	l.pace.committed(now, n, now.Sub(b.begun))
	l.limit = min(2*l.limit, l.p.largest)
	first := ack.Sequence - uint64(n) + 1
	for i, it := range b.items {
		l.learn(it, ack.Stream)
		l.p.finish(it, Ack{Stream: ack.Stream, Sequence: first + uint64(i)}, nil)
	}
	if l.open != nil {
		l.open.begun = now // the server had no time for it before
	} else {
		l.await(now, n)
	}
	l.pump()
}

// refused sends what was in a batch again, one by one: then there is an answer for each event. What was only too many goes
// in smaller batches.
func (l *lane) refused(b *batch, err error) {
	now := time.Now()
	l.answer(b)
	items, n := b.items, len(b.items)
	wait, limit := batchError(err, n)
	tooMany := limit < n
	l.not = now.Add(wait)
	l.p.largest = min(l.p.largest, limit)
	if l.limit = min(n/2, l.p.largest); tooMany {
		l.limit = l.p.largest
	}
	if l.limit < l.p.worth(&l.pace, now) { // many are refused
		l.limit, l.not = l.p.largest, now.Add(max(wait, time.Second))
	}
	for _, it := range items {
		it.alone = !tooMany
	}
	if l.open != nil { // it was behind
		items = append(items, l.open.items...)
		l.open = nil
	}
	l.requeue(items, now)
	l.pump()
}

// requeue puts events back that are to be sent, or sent again, each at its place.
func (l *lane) requeue(items []*item, now time.Time) {
	for _, it := range items {
		switch {
		case it.over:
			l.p.finish(it, Ack{}, nil)
		case !it.first.IsZero() && now.Sub(it.first) > l.p.retry:
			l.p.finish(it, Ack{}, it.uncertain(errTooLate))
		default:
			l.queue = append(l.queue, it)
		}
	}
	slices.SortFunc(l.queue, func(a, b *item) int { return cmp.Compare(a.order, b.order) })
}

var errTooLate = errors.New("there was no connection for so long that sending it again could store it twice")

// flush gives up what waits.
func (l *lane) flush(err error) {
	for _, it := range l.queue {
		l.p.finish(it, Ack{}, it.uncertain(err))
	}
	l.queue = nil
}
