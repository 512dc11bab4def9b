package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/event"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// entry is a message as tail sees it.
type entry struct {
	stream   string
	sequence uint64
	time     time.Time // when it was stored
	msg      jetstream.Msg
	event    event.Event
	invalid  error // it is not an event
	other    bool  // it is on a subject that nobody asked for
}

// feed reads one stream, by an ordered consumer: it acknowledges nothing, and makes itself anew after a restart.
type feed struct {
	source
	consumer jetstream.Consumer
	messages jetstream.MessagesContext
	left     uint64 // messages of the past
	next     *entry // the first of them
}

type feeds []*feed

// openFeed begins where it is asked to.
func openFeed(ctx context.Context, js jetstream.JetStream, s source, ask tailing) (_ *feed, err error) {
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects:    distinct(s.words),
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		InactiveThreshold: 15 * time.Second, // should this process be killed
	}
	f := &feed{source: s}
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
	if f.consumer, err = js.OrderedConsumer(ctx, s.stream, cfg); err != nil {
		return nil, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	f.left = f.consumer.CachedInfo().NumPending
	f.messages, err = f.consumer.Messages(jetstream.PullHeartbeat(2*time.Second), jetstream.PullExpiry(10*time.Second))
	return f, err
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
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, FilterSubjects: distinct(s.words),
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 15 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	return c.CachedInfo().NumPending, js.DeleteConsumer(ctx, s.stream, c.CachedInfo().Name)
}

// read waits for the next message.
func (f *feed) read(ctx context.Context) (*entry, error) {
	m, err := f.messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", f.stream, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", f.stream, err)
	}
	e := &entry{stream: f.stream, sequence: meta.Sequence.Stream, time: meta.Timestamp, msg: m}
	e.event, e.invalid = event.Decode(m.Data())
	e.other = len(f.words) > 0 && !slices.ContainsFunc(f.words, func(w string) bool { return natsserver.SubjectMatchesFilter(m.Subject(), w) })
	return e, nil
}

// readPast reads the next message of the past into next. It may be that there is none any more: messages expire.
func (f *feed) readPast(ctx context.Context) error {
	for f.next == nil && f.left > 0 {
		patience, cancel := context.WithTimeout(ctx, time.Second)
		e, err := f.read(patience)
		cancel()
		switch {
		case err == nil:
			f.next = e
			f.left--
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		default:
			i, err := f.consumer.Info(ctx)
			if err != nil {
				return fmt.Errorf("stream %s: %w", f.stream, err)
			}
			f.left = min(f.left, i.NumPending)
		}
	}
	return nil
}

// history writes what was there when the feeds were opened, in the order of its time.
func (fs feeds) history(ctx context.Context, ask tailing, write func(*entry) error) error {
	var last []*entry // of those that are wanted, if not all are
	for {
		var first *feed
		for _, f := range fs {
			if err := f.readPast(ctx); err != nil {
				return err
			}
			if f.next != nil && (first == nil || f.next.time.Before(first.next.time)) {
				first = f
			}
		}
		if first == nil {
			break
		}
		e := first.next
		first.next = nil
		switch {
		case !ask.wants(e):
		case ask.last < 0:
			if err := write(e); err != nil {
				return err
			}
		default:
			if last = append(last, e); len(last) > 2*ask.last {
				last = slices.Clone(last[len(last)-ask.last:])
			}
		}
	}
	for _, e := range last[max(0, len(last)-max(ask.last, 0)):] {
		if err := write(e); err != nil {
			return err
		}
	}
	return nil
}

// follow writes what comes.
func (fs feeds) follow(ctx context.Context, ask tailing, write func(*entry) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	entries := make(chan *entry)
	for _, f := range fs {
		go func() {
			for {
				e, err := f.read(ctx)
				if err != nil {
					cancel(err)
					return
				}
				select {
				case entries <- e:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-entries:
			if ask.wants(e) {
				if err := write(e); err != nil {
					return err
				}
			}
		}
	}
}

func (ask tailing) wants(e *entry) bool {
	return !e.other && (ask.correlation == "" || e.invalid == nil && e.event.Metadata.CorrelationID == ask.correlation)
}

// close deletes the consumers; those of a killed process go by themselves after a while.
func (fs feeds) close(js jetstream.JetStream, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, f := range fs {
		if f.messages != nil {
			f.messages.Stop()
		}
		if err := js.DeleteConsumer(ctx, f.stream, f.consumer.CachedInfo().Name); errors.Is(err, context.DeadlineExceeded) {
			return // nobody is there
		}
	}
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
