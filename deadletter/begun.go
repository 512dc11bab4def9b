package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnclear is when a redrive of a letter was interrupted, and its stream has let go of messages that came since: the
// letter's may have been among them.
var ErrUnclear = errors.New("a redrive of it was interrupted, and nobody can tell any more whether it had sent the message")

// redriving is the subject on which AUDIT has that somebody set out to redrive a letter: one for each, so that it is found
// by asking once.
func (id ID) redriving() string {
	return fmt.Sprintf("%s.redriving.%s.%s.%d", records, id.Stream, id.Consumer, id.Sequence)
}

// begin notes in AUDIT, before a letter's message is published, which stream it goes to and where that ends: if the message
// is stored, it is behind that. before says that somebody has been there already, and has not come to an end; then after
// is what that one noted, and audit the place of the note.
func (ls *Letters) begin(ctx context.Context, l Letter) (after placement, audit uint64, before bool, err error) {
	for {
		noted, last, err := ls.begun(ctx, l)
		if err != nil || noted != nil {
			if noted != nil {
				after = *noted
			}
			return after, last, noted != nil, err
		}
		if after, err = ls.end(ctx, l); err != nil {
			return after, 0, false, err
		}
		r := l.record()
		r.After = &after
		m, err := r.message("redriving", l.ID.redriving(), l.happening(), l)
		if err != nil {
			return after, 0, false, err
		}
		m.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(last, 10))
		ack, err := ls.js.PublishMsg(ctx, m, jetstream.WithExpectStream(Audit))
		if taken(err) { // somebody else sets out at this moment
			continue
		}
		if err != nil {
			return after, 0, false, fmt.Errorf("stream %s: note on %s that letter %s is redriven: %w", Audit, m.Subject, l.ID, err)
		}
		return after, ack.Sequence, false, nil
	}
}

// begun is what was noted when this very letter was set out to be redriven, nil if it never was; and the sequence in AUDIT of
// what is last noted of a letter of its name.
func (ls *Letters) begun(ctx context.Context, l Letter) (*placement, uint64, error) {
	audit, err := ls.js.Stream(ctx, Audit)
	if err != nil {
		return nil, 0, fmt.Errorf("stream %s: %w", Audit, err)
	}
	m, err := audit.GetLastMsgForSubject(ctx, l.ID.redriving())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("stream %s: %w", Audit, err)
	}
	var r record
	e, err := event.Decode(m.Data)
	if err != nil || e.ID != uuid("redriving "+l.happening()) || json.Unmarshal(e.Data, &r) != nil || r.After == nil {
		return nil, m.Sequence, nil // of an earlier letter
	}
	return r.After, m.Sequence, nil
}

// end is where the stream ends that captures a letter's subject.
func (ls *Letters) end(ctx context.Context, l Letter) (placement, error) {
	name, err := ls.js.StreamNameBySubject(ctx, l.Subject)
	if err != nil {
		return placement{}, fmt.Errorf("letter %s: who captures %s: %w", l.ID, l.Subject, err)
	}
	st, err := ls.js.Stream(ctx, name)
	if err != nil {
		return placement{}, fmt.Errorf("stream %s: %w", name, err)
	}
	return placement{name, st.CachedInfo().State.LastSeq}, nil
}

// sent looks for the letter's message behind the place that an interrupted redrive noted: nil if it is not there, and never
// was; ErrUnclear if it may have been.
func (ls *Letters) sent(ctx context.Context, l Letter, after placement) (*jetstream.PubAck, error) {
	st, err := ls.js.Stream(ctx, after.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil // and what was in it with it
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", after.Stream, err)
	}
	info, err := st.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", after.Stream, err)
	}
	state, from := info.State, after.Sequence+1
	if state.LastSeq < after.Sequence { // it was made anew
		from = 1
	}
	if state.LastSeq < from {
		return nil, nil
	}
	for seq := from; seq <= state.LastSeq; seq++ {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(l.Subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", after.Stream, err)
		}
		if m.Header.Get(nats.MsgIdHdr) == l.happening() {
			return &jetstream.PubAck{Stream: after.Stream, Sequence: m.Sequence, Duplicate: true}, nil
		}
		seq = m.Sequence
	}
	if state.FirstSeq <= from && !slices.ContainsFunc(state.Deleted, func(seq uint64) bool { return seq >= from }) {
		return nil, nil
	}
	return nil, fmt.Errorf("letter %s: %w: it would have been stored in stream %s after %d, with the %s %s", l.ID, ErrUnclear, after.Stream, after.Sequence, nats.MsgIdHdr, l.happening())
}

// recordedSince reports whether AUDIT has it, from a sequence on, that this very letter was redriven.
func (ls *Letters) recordedSince(ctx context.Context, l Letter, from uint64) (bool, error) {
	audit, err := ls.js.Stream(ctx, Audit)
	for ; err == nil; from++ {
		var m *jetstream.RawStreamMsg
		if m, err = audit.GetMsg(ctx, from, jetstream.WithGetMsgSubject(records+".redriven")); err == nil {
			if m.Header.Get(nats.MsgIdHdr) == uuid("redriven "+l.happening()) {
				return true, nil
			}
			from = m.Sequence
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return false, fmt.Errorf("stream %s: records of letters: %w", Audit, err)
}
