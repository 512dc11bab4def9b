package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// consuming reads a stream by an ordered consumer: it acknowledges nothing, and makes itself anew after a restart.
type consuming struct {
	source
	js       jetstream.JetStream
	consumer jetstream.Consumer
	messages jetstream.MessagesContext
	left     uint64 // messages of the past
}

// tailMark, "true" in a consumer's metadata, tells those of tail from a service's.
const tailMark = "deltran-bus.tail"

var tailMetadata = map[string]string{tailMark: "true"}

// tailName is what the names of a consumer of tail begin with.
func tailName() string { return "deltran-bus-tail-" + rand.Text() }

// servicesOf names the consumers of a stream that are not tail's.
func servicesOf(ctx context.Context, js jetstream.JetStream, stream string) (map[string]bool, error) {
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	names := map[string]bool{}
	consumers := st.ListConsumers(ctx)
	for info := range consumers.Info() {
		if info.Config.Metadata[tailMark] != "true" {
			names[info.Name] = true
		}
	}
	if err := consumers.Err(); err != nil {
		return nil, fmt.Errorf("stream %s: consumers: %w", stream, err)
	}
	return names, nil
}

func consume(ctx context.Context, js jetstream.JetStream, s source, ask tailing) (_ *consuming, err error) {
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects:    distinct(s.words),
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		InactiveThreshold: 15 * time.Second, // should this process be killed
		NamePrefix:        tailName(),
		Metadata:          tailMetadata,
	}
	switch {
	case !ask.since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &ask.since
	case ask.last == 0:
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	case ask.last > 0 && ask.correlation == "":
		if cfg.OptStartSeq, err = lastFrom(ctx, js, s, uint64(ask.last)); err != nil {
			return nil, err
		}
		cfg.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	}
	c := &consuming{source: s, js: js}
	if c.consumer, err = js.OrderedConsumer(ctx, s.stream, cfg); err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	c.left = c.consumer.CachedInfo().NumPending
	c.messages, err = c.consumer.Messages(jetstream.PullHeartbeat(2*time.Second), jetstream.PullExpiry(10*time.Second))
	return c, err
}

// lastFrom is a sequence from which on there are n messages or more, and not many more.
func lastFrom(ctx context.Context, js jetstream.JetStream, s source, n uint64) (uint64, error) {
	stream, err := js.Stream(ctx, s.stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	state := stream.CachedInfo().State
	for back := n; ; back *= 4 {
		if state.LastSeq < state.FirstSeq+back {
			return max(state.FirstSeq, 1), nil
		}
		from := state.LastSeq - back + 1
		there, err := pendingFrom(ctx, js, s, from)
		if err != nil || there >= n {
			return from, err
		}
	}
}

// pendingFrom is how many messages there are from a sequence on.
func pendingFrom(ctx context.Context, js jetstream.JetStream, s source, from uint64) (uint64, error) {
	c, err := js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		Name: tailName(), Metadata: tailMetadata,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, FilterSubjects: distinct(s.words),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 15 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	return c.CachedInfo().NumPending, js.DeleteConsumer(ctx, s.stream, c.CachedInfo().Name)
}

// past may find that there is less than there was: messages expire.
func (c *consuming) past(ctx context.Context) (*entry, error) {
	for c.left > 0 {
		patience, cancel := context.WithTimeout(ctx, time.Second)
		e, err := c.coming(patience)
		cancel()
		switch {
		case err == nil:
			c.left--
			return e, nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
		i, err := c.consumer.Info(ctx)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", c.stream, err)
		}
		c.left = min(c.left, i.NumPending)
	}
	return nil, nil
}

func (c *consuming) coming(ctx context.Context) (*entry, error) {
	m, err := c.messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", c.stream, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", c.stream, err)
	}
	return c.judge(&entry{sequence: meta.Sequence.Stream, time: meta.Timestamp, subject: m.Subject(), header: m.Headers(), data: m.Data()}), nil
}

func (c *consuming) close(ctx context.Context) error {
	if c.messages != nil {
		c.messages.Stop()
	}
	return c.js.DeleteConsumer(ctx, c.stream, c.consumer.CachedInfo().Name)
}

// distinct makes filters of one consumer of subjects: JetStream takes none that overlap. Of two that do, the wider one
// stays; where neither is, all are taken.
func distinct(subjects []string) []string {
	var out []string
	for i, s := range subjects {
		covered := false
		for j, o := range subjects {
			if i == j || !natsserver.SubjectsCollide(s, o) {
				continue
			}
			switch {
			case s == o:
				covered = covered || j < i
			case natsserver.SubjectMatchesFilter(s, o):
				covered = true
			case !natsserver.SubjectMatchesFilter(o, s):
				return nil
			}
		}
		if !covered {
			out = append(out, s)
		}
	}
	return out
}
