package bustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Event is a message as a stream has it.
type Event struct {
	Stream   string
	Sequence uint64 // in the stream, from 1
	Time     time.Time
	Subject  string
	Header   nats.Header
	Data     []byte
}

// String is one line: where it is and the first 200 bytes of what it says.
func (e Event) String() string {
	data := e.Data
	more := ""
	if len(data) > 200 {
		data, more = data[:200], "…"
	}
	text := string(data)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		text = fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%s #%d  %s  %s%s", e.Stream, e.Sequence, e.Subject, text, more)
}

// Publish stores an event and returns its place. A string or a []byte is sent as it is, nil as nothing, an event.Event as
// its Publisher sends it, with its id as Nats-Msg-Id; anything else as JSON. It fails where no stream takes the event.
func (b *Bus) Publish(subject string, data any, opts ...jetstream.PublishOpt) *jetstream.PubAck {
	b.helper()()
	var payload []byte
	switch d := data.(type) {
	case nil:
	case string:
		payload = []byte(d)
	case []byte:
		payload = d
	case event.Event:
		var err error
		if payload, err = d.Encode(); err != nil {
			b.fatalf("Publish %s: %v", subject, err)
		}
		opts = append([]jetstream.PublishOpt{jetstream.WithMsgID(d.MsgID())}, opts...)
	default:
		var err error
		if payload, err = json.Marshal(d); err != nil {
			b.fatalf("Publish %s: %v", subject, err)
		}
	}
	ctx, cancel := b.patient()
	defer cancel()
	ack, err := b.js().Publish(ctx, subject, payload, opts...)
	if err != nil {
		b.fatalf("Publish %s: %v", subject, err)
	}
	return ack
}

// Events are the events that are stored now, the oldest first. From is a stream's name or a subject that may have
// wildcards, such as "AUDIT" or "events.*.failed".
func (b *Bus) Events(from string) []Event {
	b.helper()()
	r := b.reader(from)
	if err := r.read(func(Event) bool { return false }); err != nil {
		b.fatalf("Events %s: %v", from, err)
	}
	return r.sorted()
}

// Await returns the first event for which every match says yes, among those that are stored already and then as they
// come; without a match, the first. From is as for Events. It fails, with the events that did arrive, when none comes
// within the timeout. Of a stream that deletes what was consumed it may miss what comes and goes.
func (b *Bus) Await(from string, match ...func(Event) bool) Event {
	b.helper()()
	r := b.reader(from)
	var found *Event
	yes := func(e Event) bool {
		for _, m := range match {
			if !m(e) {
				return false
			}
		}
		found = &e
		return true
	}
	var err error
	if !b.opts.until(func() bool { err = r.read(yes); return found != nil }) {
		b.fatalf("Await %s: %s after %s%s%s", from, none(len(r.events), len(match)), b.opts.patience, list(r.sorted()), why(err))
	}
	return *found
}

func none(events, matches int) string {
	if events == 0 || matches == 0 {
		return "no event"
	}
	return fmt.Sprintf("none of %d events matches", events)
}

func why(err error) string {
	if err == nil {
		return ""
	}
	return "\n" + err.Error()
}

// list shows the last 20.
func list(events []Event) string {
	var b strings.Builder
	if n := len(events) - 20; n > 0 {
		fmt.Fprintf(&b, "\n    … %d more before", n)
		events = events[n:]
	}
	for _, e := range events {
		b.WriteString("\n    " + e.String())
	}
	return b.String()
}

// reader reads on in one or more streams.
type reader struct {
	b       *Bus
	subject string
	next    map[string]uint64 // by stream
	streams map[string]jetstream.Stream
	events  []Event
}

func (b *Bus) reader(from string) *reader {
	b.helper()()
	r := &reader{b: b, subject: from, next: map[string]uint64{}, streams: map[string]jetstream.Stream{}}
	ctx, cancel := b.patient()
	defer cancel()
	names := map[bool][]string{}
	for _, filter := range []string{"", from} {
		var opts []jetstream.StreamListOpt
		if filter != "" {
			opts = append(opts, jetstream.WithStreamListSubject(filter))
		}
		list := b.js().StreamNames(ctx, opts...)
		for n := range list.Name() {
			names[filter != ""] = append(names[filter != ""], n)
		}
		if err := list.Err(); err != nil && filter == "" {
			b.fatalf("list streams: %v", err)
		}
	}
	if slices.Contains(names[false], from) {
		r.subject, names[true] = ">", []string{from}
	}
	if len(names[true]) == 0 {
		b.fatalf("%q is not a stream, and no stream has such a subject; there are %s", from, strings.Join(names[false], ", "))
	}
	for _, n := range names[true] {
		r.next[n] = 1
	}
	return r
}

// read goes on to the end of each stream, or until the event that stop says yes to.
func (r *reader) read(stop func(Event) bool) error {
	ctx, cancel := r.b.patient()
	defer cancel()
	for name := range r.next {
		if r.streams[name] == nil {
			s, err := r.b.js().Stream(ctx, name)
			if err != nil {
				return err
			}
			r.streams[name] = s
		}
		for {
			m, err := r.streams[name].GetMsg(ctx, r.next[name], jetstream.WithGetMsgSubject(r.subject))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				delete(r.streams, name) // the bus may have been replaced
				return fmt.Errorf("stream %s: %w", name, err)
			}
			e := Event{name, m.Sequence, m.Time, m.Subject, m.Header, m.Data}
			r.next[name] = m.Sequence + 1
			r.events = append(r.events, e)
			if stop(e) {
				return nil
			}
		}
	}
	return nil
}

// sorted are the events in the order of their time.
func (r *reader) sorted() []Event {
	out := slices.Clone(r.events)
	slices.SortStableFunc(out, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return out
}

// js is JetStream with the rights of the bus, over a connection that nothing disconnects.
func (b *Bus) js() jetstream.JetStream {
	_, js := b.watch.conn()
	return js
}

// patient is a context for what is done at once and waits for nothing but the machine: however short the timeout is.
func (b *Bus) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, max(b.opts.duration(), 10*time.Second))
}
