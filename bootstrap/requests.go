package bootstrap

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func (a api) createStream(s *step) {
	e := s.change.stream
	send := sendable(e.declared)
	want := e.normal(send)
	s.wants, s.origins = want.Subjects, origins(want)
	s.do = func(ctx context.Context) error {
		err := a.call(ctx, 0, "STREAM.CREATE."+send.Name, send, nil)
		if refusal(err) != jetstream.JSErrCodeStreamNameInUse {
			return err
		}
		var there struct {
			Config jetstream.StreamConfig `json:"config"`
		}
		if a.call(ctx, 0, "STREAM.INFO."+send.Name, nil, &there) == nil && equal(e.normal(there.Config), want) {
			return nil // another has been quicker
		}
		return err
	}
}

func (a api) updateStream(s *step, allow Allow) {
	e := s.change.stream
	send, done, _ := settle(e.kind(), allow)
	if len(done) == 0 {
		return
	}
	send = sendable(send)
	s.change = s.change.with(done)
	want := e.normal(send)
	s.has, s.wants, s.origins = e.there.Config.Subjects, want.Subjects, origins(want)
	s.do = a.streamUpdate(e.there, send)
	s.shrink = func(keep []string) *step {
		half := sendable(e.there.Config)
		if half.Subjects = keep; len(keep) == 0 {
			half.Subjects = []string{placeholder(send.Name)}
		}
		return &step{change: s.change, do: a.streamUpdate(e.there, half), between: true, done: make(chan struct{})}
	}
}

// streamUpdate replaces the whole config, but keeps what a newer server has in it.
func (a api) streamUpdate(there *Stream, send jetstream.StreamConfig) func(context.Context) error {
	return func(ctx context.Context) error {
		update := fieldsOf(send)
		keepUnknown(update, object(there.raw), fieldsOf(there.Config))
		return a.call(ctx, updateTimeout, "STREAM.UPDATE."+send.Name, update, nil)
	}
}

// consumerRequest is the body of CONSUMER.CREATE.
type consumerRequest struct {
	Stream string         `json:"stream_name"`
	Config map[string]any `json:"config"`
	Action Action         `json:"action"`
}

func (a api) consumer(ctx context.Context, stream string, c map[string]any, action Action, wait time.Duration) error {
	name, _ := c["name"].(string)
	subject := "CONSUMER.CREATE." + stream + "." + name
	if f, ok := c["filter_subject"].(string); ok && f != "" {
		subject += "." + f // as nats.go does: permissions may be given by filter
	}
	return a.call(ctx, wait, subject, consumerRequest{stream, c, action}, nil)
}

func (a api) createConsumer(s *step) {
	e := s.change.consumer
	send := e.sendable(e.declared)
	s.group, s.wants = e.exclusive(), orAll(filters(send))
	s.same = e.sameUnder(send)
	s.do = func(ctx context.Context) error {
		err := a.consumer(ctx, s.change.Stream, fieldsOf(send), Create, 0)
		switch refusal(err) {
		case jetstream.JSErrCodeConsumerExists, jetstream.JSErrCodeConsumerAlreadyExists, jetstream.JSErrCodeConsumerNameExists:
		default:
			return err
		}
		var there struct {
			Config jetstream.ConsumerConfig `json:"config"`
		}
		info := "CONSUMER.INFO." + s.change.Stream + "." + s.change.Consumer
		if a.call(ctx, 0, info, nil, &there) == nil && equal(e.normal(there.Config), e.normal(send)) {
			return nil // another has been quicker
		}
		return err
	}
}

func (a api) updateConsumer(s *step, allow Allow) {
	e := s.change.consumer
	send, done, _ := settle(e.kind(allow), allow)
	if len(done) == 0 {
		return
	}
	send = e.sendable(send)
	s.change = s.change.with(done)
	s.group, s.has, s.wants = e.exclusive(), orAll(filters(e.there.Config)), orAll(filters(send))
	s.same = e.sameUnder(send)
	s.clamp = func(l jetstream.StreamConsumerLimits) *step {
		half := e.there.Config
		if l.MaxAckPending > 0 {
			half.MaxAckPending = min(half.MaxAckPending, l.MaxAckPending)
		}
		if l.InactiveThreshold > 0 {
			half.InactiveThreshold = min(half.InactiveThreshold, l.InactiveThreshold)
		}
		return &step{change: s.change, do: a.consumerUpdate(e.there, s.change.Stream, half), between: true, done: make(chan struct{}), group: s.group}
	}
	pause := named(done, "pause_until") != nil
	s.do = func(ctx context.Context) error {
		update := a.consumerUpdate(e.there, s.change.Stream, send)
		if !pause || len(done) > 1 {
			if err := update(ctx); err != nil {
				return err
			}
		}
		// As it becomes durable JetStream still gives it an ephemeral's few seconds to live, which the second time takes away.
		if named(done, "durable_name") != nil {
			if err := update(ctx); err != nil {
				return err
			}
		}
		if !pause {
			return nil
		}
		// CONSUMER.CREATE of one that exists leaves its pause alone, without a word.
		req := map[string]any{"pause_until": send.PauseUntil}
		return a.call(ctx, 0, "CONSUMER.PAUSE."+s.change.Stream+"."+s.change.Consumer, req, nil)
	}
	s.shrink = func(keep []string) *step {
		half := e.sendable(e.there.Config)
		half.FilterSubject = ""
		if half.FilterSubjects = keep; len(keep) == 0 {
			half.FilterSubjects = []string{placeholder(s.change.Consumer)}
		}
		return &step{change: s.change, do: a.consumerUpdate(e.there, s.change.Stream, half), between: true, done: make(chan struct{})}
	}
}

func (a api) consumerUpdate(there *Consumer, stream string, send jetstream.ConsumerConfig) func(context.Context) error {
	return func(ctx context.Context) error {
		update := fieldsOf(send)
		keepUnknown(update, object(there.raw), fieldsOf(there.Config))
		return a.consumer(ctx, stream, update, Update, updateTimeout)
	}
}

// sendable is a stream as it goes on the wire: nats.go's shorthand for a domain written out.
func sendable(c jetstream.StreamConfig) jetstream.StreamConfig {
	if c.Mirror != nil {
		c.Mirror = normalSource(c.Mirror)
	}
	c.Sources = slices.Clone(c.Sources)
	for i, s := range c.Sources {
		if s != nil {
			c.Sources[i] = normalSource(s)
		}
	}
	return c
}

// sendable is a consumer with its name, and with what it takes from its stream's limits said: it may be changed before
// the stream has them. A single filter stays in the spelling that is there, which old clients look at.
func (e *consumerEdit) sendable(c jetstream.ConsumerConfig) jetstream.ConsumerConfig {
	c.Name = nameOf(e.declared)
	c.MaxAckPending, c.InactiveThreshold = underLimits(c, e.limits())
	if e.there != nil && c.FilterSubject == "" && len(c.FilterSubjects) == 1 && c.FilterSubjects[0] == e.there.Config.FilterSubject {
		c.FilterSubject, c.FilterSubjects = c.FilterSubjects[0], nil
	}
	return c
}

// sameUnder tells whether what is sent is taken under other limits of the stream, and as it is meant.
func (e *consumerEdit) sameUnder(send jetstream.ConsumerConfig) func(jetstream.StreamConsumerLimits) bool {
	return func(l jetstream.StreamConsumerLimits) bool {
		is := normalConsumer(send, l, e.stream.world.have.Limits)
		return equal(is, e.normal(send)) && !exceeds(is.MaxAckPending, is.InactiveThreshold, l)
	}
}

// exclusive is the group of consumers that may not share a message: those of a work queue.
func (e *consumerEdit) exclusive() string {
	s := e.stream // which stays a work queue for ever
	if s.declared.Retention == jetstream.WorkQueuePolicy || s.there != nil && s.there.Config.Retention == jetstream.WorkQueuePolicy {
		return e.stream.declared.Name
	}
	return "\x00" + e.stream.declared.Name + "\x00" + nameOf(e.declared)
}

func origins(c jetstream.StreamConfig) (names []string) {
	for _, s := range append(slices.Clone(c.Sources), c.Mirror) {
		if s != nil && s.External == nil {
			names = append(names, s.Name)
		}
	}
	return names
}

// placeholder is a subject that nobody publishes to, for a stream or consumer that has to let go of all it has for a moment.
func placeholder(name string) string { return "_deltran_bus.moving." + name }
