package deadletter

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Letters are what there is in DEADLETTERS, for who looks at it. Open them with Open.
type Letters struct {
	js jetstream.JetStream
	st jetstream.Stream // nil: there is no stream yet, and no letter
}

// ErrNone is when there is no such letter.
var ErrNone = errors.New("there is no such letter")

// Open finds the stream. That there is none is no error: no consumer has given up yet.
func Open(ctx context.Context, js jetstream.JetStream) (*Letters, error) {
	st, err := js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &Letters{js: js}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", Stream, err)
	}
	return &Letters{js, st}, nil
}

// Summary is the letters of one consumer.
type Summary struct {
	Count
	Oldest time.Time `json:"oldest"` // when the consumer gave up on the first that is there
	Newest time.Time `json:"newest"`
}

// Summaries are the letters by consumer, sorted.
func (ls *Letters) Summaries(ctx context.Context) ([]Summary, error) {
	out := []Summary{}
	if ls.st == nil {
		return out, nil
	}
	counts, err := countBy(ctx, ls.st)
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		s := Summary{Count: c}
		all := Query{Stream: c.Stream, Consumer: c.Consumer}.subject()
		first, err := ls.st.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(all))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // erased meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", Stream, err)
		}
		last, err := ls.st.GetLastMsgForSubject(ctx, all)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", Stream, err)
		}
		oldest, _ := parse(first)
		newest, _ := parse(last)
		s.Oldest, s.Newest = oldest.GivenUp, newest.GivenUp
		out = append(out, s)
	}
	return out, nil
}

// Get is one letter, by STREAM/CONSUMER/SEQUENCE or its number in DEADLETTERS.
func (ls *Letters) Get(ctx context.Context, name string) (Letter, error) {
	number, err := strconv.ParseUint(name, 10, 64)
	var id ID
	if err != nil {
		if id, err = ParseID(name); err != nil {
			return Letter{}, err
		}
	}
	if ls.st == nil {
		return Letter{}, fmt.Errorf("letter %s: %w", name, ErrNone)
	}
	var m *jetstream.RawStreamMsg
	if number > 0 {
		m, err = ls.st.GetMsg(ctx, number)
	} else {
		m, err = ls.st.GetLastMsgForSubject(ctx, id.subject())
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, fmt.Errorf("letter %s: %w", name, ErrNone)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("stream %s: letter %s: %w", Stream, name, err)
	}
	return parse(m)
}

// Query chooses letters. What is empty does not choose.
type Query struct {
	Stream, Consumer string
	Since, Until     time.Time // by when the consumer gave up; from Since on, and before Until
}

func (q Query) subject() string {
	any := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return fmt.Sprintf("%s.%s.%s.*", prefix, any(q.Stream), any(q.Consumer))
}

// Select are the letters that there are now, the oldest first. What comes while they are walked through is left out: a
// consumer may give up on a redriven message again. An error ends it, but one about a message that is no letter.
func (ls *Letters) Select(ctx context.Context, q Query) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if ls.st == nil {
			return
		}
		last := ls.st.CachedInfo().State.LastSeq
		for seq := uint64(1); seq <= last; seq++ {
			m, err := ls.st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(q.subject()))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(Letter{}, fmt.Errorf("stream %s: %w", Stream, err))
				return
			}
			if seq = m.Sequence; seq > last {
				return
			}
			l, err := parse(m)
			if err == nil && (l.GivenUp.Before(q.Since) || !q.Until.IsZero() && !l.GivenUp.Before(q.Until)) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
