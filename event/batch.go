package event

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// batch is an atomic batch on its way. The server gets each event as soon as there is another: the last one says that it
// is the last.
type batch struct {
	lane  *lane
	link  *link
	out   jetstreamext.BatchPublisher
	items []*item
	held  *item // the last, which was not sent yet
	bytes int
	begun time.Time
	err   error  // of sending; then it is not committed
	token string // of the answer to its commit
}

const batchBytes = 8 << 20 // of a batch, unless it is a single event: the server has it twice for a moment

func (k *link) newBatch(l *lane, now time.Time) *batch {
	// Acks of single messages of a batch say nothing about its outcome, and take a round trip.
	out, err := jetstreamext.NewBatchPublisher(k.js, jetstreamext.BatchFlowControl{})
	return &batch{lane: l, link: k, out: out, begun: now, err: err}
}

func (b *batch) fits(it *item, limit int) bool {
	return len(b.items) == 0 || len(b.items) < limit && b.bytes+len(it.data) <= batchBytes
}

func (b *batch) add(it *item, now time.Time) {
	if b.held != nil && b.err == nil {
		b.err = b.out.AddMsg(b.link.msg(b.held, ""))
	}
	it.sentAt(now)
	b.held = it
	b.bytes += len(it.data)
	b.items = append(b.items, it)
}

// commit sends the last event. Right away, and not by somebody who waits for the answer: what is sent behind it, of the
// next batch, would keep the server from it.
func (b *batch) commit(now time.Time) {
	k := b.link
	b.token = k.newToken()
	k.commits[b.token] = b
	msg := k.msg(b.held, k.inbox+b.token)
	msg.Header[jetstreamext.BatchCommitHeader] = []string{"1"}
	b.held.sentAt(now)
	if b.err == nil {
		b.err = b.out.AddMsg(msg)
	}
	if b.err != nil {
		k.p.drop(k, b.err)
	}
}

func (b *batch) has(subject string) bool {
	return slices.ContainsFunc(b.items, func(it *item) bool { return it.subject == subject })
}

// batchError says what a refusal means for the batches to come: how long there are none, and how large they may be.
func batchError(err error, n int) (wait time.Duration, limit int) {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case jetstreamext.JSErrCodeBatchPublishNotEnabled:
			return time.Minute, math.MaxInt
		case jetstreamext.JSErrCodeAtomicPublishTooManyInflight:
			return 100 * time.Millisecond, math.MaxInt
		case jetstreamext.JSErrCodeBatchPublishExceedsLimit:
			if n > undeclared {
				return 0, undeclared
			}
			return 0, max(n/2, 1)
		}
	} else if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrPermissionViolation) {
		return time.Minute, math.MaxInt // a server that knows no batches has stored the events, and answers as if to one
	}
	return 0, math.MaxInt
}
