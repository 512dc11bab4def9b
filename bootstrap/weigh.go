package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Weigh fills in the Cost of every field of the plan that loses, skips or replays, as far as it can be counted: how many
// messages, and how old the oldest is. It changes nothing on the server and asks nothing when there is no such field.
// A count that cannot be had without reading the messages themselves is marked as an estimate.
func Weigh(ctx context.Context, js jetstream.JetStream, plan Plan) error {
	a := newAPI(js)
	var errs []error
	for i := range plan.Changes {
		c := &plan.Changes[i]
		for j := range c.Fields {
			f := &c.Fields[j]
			if f.Class != Loses && f.Class != Skips && f.Class != Replays {
				continue
			}
			cost, err := a.weigh(ctx, c, f.Name)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: weigh %s: %w", c.Ref, f.Name, err))
				continue
			}
			if cost != nil && !cost.Oldest.IsZero() {
				cost.Age = max(time.Since(cost.Oldest), 0)
			}
			f.Cost = cost
		}
	}
	return errors.Join(errs...)
}

func (a api) weigh(ctx context.Context, c *Change, field string) (*Cost, error) {
	if c.stream != nil {
		return a.weighStream(ctx, c.stream, field)
	}
	return a.weighConsumer(ctx, c.consumer, field)
}

func (a api) weighStream(ctx context.Context, e *streamEdit, field string) (*Cost, error) {
	st := e.there.State
	want := e.normal(e.declared)
	switch field {
	case "max_msgs":
		return e.first(beyond(st.Msgs, want.MaxMsgs), false), nil
	case "max_bytes":
		return e.first(share(st, want.MaxBytes), true), nil
	case "discard": // at once; from then on every message that finds the stream full costs one
		return e.first(max(beyond(st.Msgs, want.MaxMsgs), share(st, want.MaxBytes)), true), nil
	case "max_age":
		return a.olderThan(ctx, e.there, time.Now().Add(-want.MaxAge))
	case "first_seq":
		n, exact, err := a.before(ctx, e.there, want.FirstSeq)
		return e.first(n, !exact), err
	case "max_msgs_per_subject":
		n, err := a.perSubject(ctx, e.there.Config.Name, uint64(want.MaxMsgsPerSubject))
		return &Cost{Messages: n}, err
	case "retention":
		return a.uninteresting(ctx, e)
	}
	return nil, nil
}

// first is the cost of losing the first n messages.
func (e *streamEdit) first(n uint64, estimate bool) *Cost {
	c := &Cost{Messages: n, Estimate: estimate && n > 0}
	if n > 0 {
		c.Oldest = e.there.State.FirstTime
	}
	return c
}

func beyond(n uint64, limit int64) uint64 {
	if limitless(limit) || n <= uint64(limit) {
		return 0
	}
	return n - uint64(limit)
}

// share is how many messages max_bytes leaves no room for, if they are all of one size.
func share(st jetstream.StreamState, limit int64) uint64 {
	over := beyond(st.Bytes, limit)
	if over == 0 {
		return 0
	}
	hi, lo := bits.Mul64(st.Msgs, over)
	if hi >= st.Bytes {
		return st.Msgs
	}
	n, rest := bits.Div64(hi, lo, st.Bytes)
	if rest > 0 {
		n++
	}
	return n
}

// uninteresting is what a stream that becomes one of interest drops at once: everything without consumers, otherwise what
// all of them have acknowledged.
func (a api) uninteresting(ctx context.Context, e *streamEdit) (*Cost, error) {
	if len(e.there.Consumers) == 0 && len(e.consumers) == 0 {
		return e.first(e.there.State.Msgs, false), nil
	}
	floor := uint64(math.MaxUint64)
	for _, c := range e.there.Consumers {
		floor = min(floor, c.Info.AckFloor.Stream)
	}
	if isNew := func(c jetstream.ConsumerConfig) bool { return e.there.Consumers[nameOf(c)] == nil }; slices.ContainsFunc(e.consumers, isNew) {
		floor = 0 // created before the stream changes, so that nothing is acknowledged by all
	}
	n, _, err := a.before(ctx, e.there, floor+1)
	return e.first(n, true), err
}

func (a api) weighConsumer(ctx context.Context, e *consumerEdit, field string) (*Cost, error) {
	info := e.there.Info
	switch field {
	case "filter_subjects":
		return a.unmatched(ctx, e)
	case "headers_only":
		return &Cost{Messages: info.NumPending}, nil
	case "max_deliver":
		n := info.NumRedelivered
		if e.normal(e.declared).MaxDeliver <= 1 {
			n = info.NumAckPending
		}
		return &Cost{Messages: uint64(max(n, 0)), Estimate: n > 0}, nil
	case "ack_wait", "backoff":
		return &Cost{Messages: uint64(max(info.NumAckPending, 0)), Estimate: true}, nil
	case "deliver_subject":
		return &Cost{Messages: uint64(max(info.NumAckPending, 0))}, nil
	}
	return nil, nil
}
