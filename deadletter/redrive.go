package deadletter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The headers that a redriven message has more than the first time.
const (
	// RedrivenFrom is the letter that it was: STREAM/CONSUMER/SEQUENCE.
	RedrivenFrom = "Deltran-Redriven-From"
	// RedrivenMsgID is its Nats-Msg-Id as it was, which a duplicate_window may still know: it goes with another one.
	RedrivenMsgID = "Deltran-Redriven-Msg-Id"
)

// Target is where a letter's message goes when it is redriven.
type Target struct {
	Stream string   // that captures its subject now
	Others []string // consumers of it that get the message too, beside the one that gave up; sorted
	Gone   bool     // the one that gave up is not there any more, or does not want the subject
}

// ErrNoStream is when nobody captures a letter's subject.
var ErrNoStream = errors.New("no stream captures its subject any more; declare one that does")

// Target looks who would get a letter's message. It is ErrNoStream if nobody captures its subject.
func (ls *Letters) Target(ctx context.Context, l Letter) (t Target, err error) {
	if l.Missing != "" {
		return t, fmt.Errorf("letter %s: there is nothing to redrive: %s", l.ID, l.Missing)
	}
	t.Stream, err = ls.js.StreamNameBySubject(ctx, l.Subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return t, fmt.Errorf("letter %s: %w: %s", l.ID, ErrNoStream, l.Subject)
	}
	if err != nil {
		return t, fmt.Errorf("letter %s: who captures %s: %w", l.ID, l.Subject, err)
	}
	st, err := ls.js.Stream(ctx, t.Stream)
	if err != nil {
		return t, fmt.Errorf("stream %s: %w", t.Stream, err)
	}
	if t.Gone = true; t.Stream != l.ID.Stream {
		copied, err := ls.copies(ctx, l.ID.Stream, t.Stream)
		if err != nil {
			return t, err
		}
		t.Gone = !copied
	}
	consumers := st.ListConsumers(ctx)
	for info := range consumers.Info() {
		switch {
		case !wants(info.Config, l.Subject):
		case info.Name == l.Consumer && t.Stream == l.ID.Stream:
			t.Gone = false
		default:
			t.Others = append(t.Others, info.Name)
		}
	}
	if err := consumers.Err(); err != nil {
		return t, fmt.Errorf("stream %s: consumers: %w", t.Stream, err)
	}
	slices.Sort(t.Others)
	return t, nil
}

// copies reports whether a stream is a mirror of another, or has it among its sources: then it gets what that one stores.
func (ls *Letters) copies(ctx context.Context, stream, of string) (bool, error) {
	st, err := ls.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", stream, err)
	}
	cfg := st.CachedInfo().Config
	is := func(s *jetstream.StreamSource) bool { return s != nil && s.Name == of }
	return is(cfg.Mirror) || slices.ContainsFunc(cfg.Sources, is), nil
}

// wants reports whether a consumer is delivered what is stored on a subject.
func wants(c jetstream.ConsumerConfig, subject string) bool {
	filters := slices.Clone(c.FilterSubjects)
	if c.FilterSubject != "" {
		filters = append(filters, c.FilterSubject)
	}
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f string) bool { return event.Covers(f, subject) })
}

// Redrive notes that it begins, publishes a letter's message once more, records that, and erases the letter, in this order.
// Done again after it was interrupted, at any step and however long ago, it goes on where it was: from the note it knows where
// to look for the message. It is ErrUnclear if the message may have been there and is there no more; with perhapsTwice it is
// sent then.
func (ls *Letters) Redrive(ctx context.Context, l Letter, perhapsTwice bool) (*jetstream.PubAck, error) {
	if l.Missing != "" {
		return nil, fmt.Errorf("letter %s: there is nothing to redrive: %s", l.ID, l.Missing)
	}
	after, noted, before, err := ls.begin(ctx, l)
	if err != nil {
		return nil, err
	}
	var ack *jetstream.PubAck
	recorded := false
	if before {
		if ack, err = ls.sent(ctx, l, after); err != nil && !(perhapsTwice && errors.Is(err, ErrUnclear)) {
			return nil, err
		}
	}
	if ack != nil {
		recorded, err = ls.recordedSince(ctx, l, noted)
	} else if ack, err = ls.js.PublishMsg(ctx, l.again()); err != nil {
		err = fmt.Errorf("letter %s: publish on %s: %w", l.ID, l.Subject, err)
	}
	if err != nil {
		return nil, err
	}
	r := l.record()
	r.To = &placement{ack.Stream, ack.Sequence}
	if !recorded {
		err = r.keep(ctx, ls.js, "redriven", l.happening(), l)
	}
	if err == nil {
		err = ls.erase(ctx, l)
	}
	if err != nil {
		return ack, fmt.Errorf("%w; its message is in stream %s at %d: redrive it again to finish", err, ack.Stream, ack.Sequence)
	}
	return ack, nil
}

// Dismiss records why nothing is done about a letter, and erases it. One whose message was sent before a redrive was
// interrupted is not dismissed.
func (ls *Letters) Dismiss(ctx context.Context, l Letter, reason string) error {
	after, _, err := ls.begun(ctx, l)
	if err != nil {
		return err
	}
	if after != nil {
		ack, err := ls.sent(ctx, l, *after)
		if err != nil && !errors.Is(err, ErrUnclear) {
			return err
		}
		if ack != nil {
			return fmt.Errorf("letter %s: a redrive was interrupted when its message was in stream %s at %d already: redrive it again to finish", l.ID, ack.Stream, ack.Sequence)
		}
	}
	r := l.record()
	r.Reason = reason
	if err := r.keep(ctx, ls.js, "dismissed", l.happening(), l); err != nil {
		return err
	}
	return ls.erase(ctx, l)
}

// erase overwrites the letter.
func (ls *Letters) erase(ctx context.Context, l Letter) error {
	err := ls.st.SecureDeleteMsg(ctx, l.Number)
	if err == nil {
		return nil
	}
	if _, there := ls.st.GetMsg(ctx, l.Number); errors.Is(there, jetstream.ErrMsgNotFound) {
		return nil // somebody else was quicker; the refusal does not say so
	}
	return fmt.Errorf("letter %s: erase it from stream %s: %w", l.ID, Stream, err)
}

// happening names this very letter.
func (l Letter) happening() string {
	return fmt.Sprintf("dead-letter.%s.%d", l.ID, l.Stored.UnixNano())
}

// again is the message as it is published once more. Of what JetStream does because of headers only a message's own
// lifetime is asked for again: the rest was about the first time.
func (l Letter) again() *nats.Msg {
	m := nats.NewMsg(l.Subject)
	m.Data = l.Data
	maps.Copy(m.Header, l.Header)
	first := m.Header.Get(RedrivenMsgID)
	if first == "" {
		first = m.Header.Get(nats.MsgIdHdr)
	}
	maps.DeleteFunc(m.Header, func(name string, _ []string) bool {
		return strings.HasPrefix(name, "Nats-") && name != jetstream.MsgTTLHeader
	})
	if first != "" {
		m.Header[RedrivenMsgID] = []string{first}
	}
	m.Header[RedrivenFrom] = []string{l.ID.String()}
	m.Header[nats.MsgIdHdr] = []string{l.happening()}
	return m
}
