package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/event"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// entry is a message as tail sees it.
type entry struct {
	stream   string
	sequence uint64
	time     time.Time // when it was stored
	subject  string
	header   nats.Header
	data     []byte
	event    event.Event
	invalid  error // it is not an event
	other    bool  // it is on a subject that nobody asked for
}

// judge fills in what the message itself says about it.
func (s source) judge(e *entry) *entry {
	e.stream = s.stream
	e.event, e.invalid = event.Decode(e.data)
	e.other = len(s.words) > 0 && !slices.ContainsFunc(s.words, func(w string) bool { return natsserver.SubjectMatchesFilter(e.subject, w) })
	return e
}

// reader reads one stream, from where tail was asked to begin. It takes nothing from anybody.
type reader interface {
	// past is the next message of those that were there when it was opened; nil when there are no more.
	past(ctx context.Context) (*entry, error)
	// coming waits for the next message after those.
	coming(ctx context.Context) (*entry, error)
	// close leaves nothing behind in the stream.
	close(ctx context.Context) error
}

// feed is a stream that is read.
type feed struct {
	reader
	next *entry // the first message of the past that is not written yet
	done bool   // with the past
}

type feeds []*feed

// history writes what was there when the feeds were opened, in the order of its time.
func (fs feeds) history(ctx context.Context, ask tailing, write func(*entry) error) error {
	var last []*entry // of those that are wanted, if not all are
	for {
		var first *feed
		for _, f := range fs {
			if f.next == nil && !f.done {
				var err error
				if f.next, err = f.past(ctx); err != nil {
					return err
				}
				f.done = f.next == nil
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
				e, err := f.coming(ctx)
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

// wants compares UUIDs as RFC 9562 does: whatever their case.
func (ask tailing) wants(e *entry) bool {
	return !e.other && (ask.correlation == "" || e.invalid == nil && strings.EqualFold(e.event.Metadata.CorrelationID, ask.correlation))
}

// close leaves nothing behind, if that is soon done: where the connection is lost, a consumer that makes itself anew keeps
// whoever would stop it waiting. Those of a killed process go by themselves after a while.
func (fs feeds) close(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = unless(ctx, func() (struct{}, error) {
		for _, f := range fs {
			if err := f.reader.close(ctx); errors.Is(err, context.DeadlineExceeded) {
				break // nobody is there
			}
		}
		return struct{}{}, nil
	})
}
