package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is DEADLETTERS as who fills it sees it.
type store struct {
	js jetstream.JetStream
	st jetstream.Stream
}

// openStore finds the stream, or makes it: of the kind that AUDIT is.
func openStore(ctx context.Context, js jetstream.JetStream, o Options) (*store, error) {
	st, err := js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var audit jetstream.Stream
		if audit, err = js.Stream(ctx, Audit); err != nil {
			return nil, fmt.Errorf("stream %s: %w", Audit, err)
		}
		like := audit.CachedInfo().Config
		st, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name: Stream, Description: "What consumers gave up on; erasable", Subjects: []string{subject},
			Retention: jetstream.LimitsPolicy, Storage: like.Storage, Replicas: like.Replicas,
			MaxAge: o.MaxAge, MaxBytes: o.MaxBytes, Discard: jetstream.DiscardNew, AllowDirect: true,
			Metadata: map[string]string{Owner: "dead_letters"},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was quicker
			st, err = js.Stream(ctx, Stream)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", Stream, err)
	}
	if subjects := st.CachedInfo().Config.Subjects; len(subjects) != 1 || !event.Covers(subjects[0], subject) {
		return nil, fmt.Errorf("stream %s: it has the subjects %q; letters need %q", Stream, subjects, subject)
	}
	return &store{js, st}, nil
}

// put stores a letter, once: a subject has one letter of a message, however often it is put and however long ago. It
// returns the letter that is there.
func (s *store) put(ctx context.Context, l Letter, cause string) (Letter, error) {
	for expected := uint64(0); ; {
		m := l.message()
		m.Header[nats.MsgIdHdr] = []string{cause}
		m.Header[nats.ExpectedLastSubjSeqHdr] = []string{strconv.FormatUint(expected, 10)}
		ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectStream(Stream))
		switch {
		case err == nil:
			l.Number = ack.Sequence
			return l, nil
		case tooLarge(err) && l.Missing == "":
			l.Missing = fmt.Sprintf("%d bytes of payload and %d headers are, with where they came from, more than may be stored; the message is in stream %s until it expires", len(l.Data), len(l.Header), l.ID.Stream)
			l.Data, l.Header = nil, nats.Header{nats.MsgIdHdr: l.Header[nats.MsgIdHdr]}
			continue
		case !taken(err):
			return l, fmt.Errorf("stream %s: %w", Stream, err)
		}
		raw, err := s.st.GetLastMsgForSubject(ctx, l.subject())
		if errors.Is(err, jetstream.ErrMsgNotFound) { // erased a moment ago
			expected = 0
			continue
		}
		if err != nil {
			return l, fmt.Errorf("stream %s: %w", Stream, err)
		}
		there, err := parse(raw)
		if err == nil && (l.Time.IsZero() || l.Time.Equal(there.Time)) {
			return there, nil
		}
		expected = raw.Sequence // of another message: the stream was made anew
	}
}

// taken reports whether there is a letter on the subject.
func taken(err error) bool {
	code := codeOf(err)
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// JetStream's codes that nats.go has no names for.
const (
	codeMessageTooLarge = 10054
	codeHeaderTooLarge  = 10097
)

// tooLarge reports whether a message is beyond max_payload, max_msg_size, or what headers may take.
func tooLarge(err error) bool {
	code := codeOf(err)
	return errors.Is(err, nats.ErrMaxPayload) || code == codeMessageTooLarge || code == codeHeaderTooLarge
}

func codeOf(err error) jetstream.ErrorCode {
	if e := (*jetstream.APIError)(nil); errors.As(err, &e) {
		return e.ErrorCode
	}
	return 0
}

// cause names an advisory: what is stored because of it is stored once.
func cause(seq uint64, at time.Time) string {
	return fmt.Sprintf("dead-letter.%s.%d.%d", Audit, seq, at.UnixNano())
}
