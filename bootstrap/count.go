package bootstrap

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The counts here ask for messages by sequence and for lists, never by a consumer: that would be refused by some streams,
// would keep messages in others, and could be left behind.

// olderThan counts the messages stored before a time. Sequences are searched by halves, as JetStream's expiry takes
// them to be in the order of time as well.
func (a api) olderThan(ctx context.Context, s *Stream, t time.Time) (*Cost, error) {
	st := s.State
	if st.Msgs == 0 || !st.FirstTime.Before(t) {
		return &Cost{}, nil
	}
	low, high := st.FirstSeq, st.LastSeq+1 // low is older; high is the first that is not
	if st.LastTime.Before(t) && !st.LastTime.IsZero() {
		low = high
	}
	for low+1 < high {
		middle := low + (high-low)/2
		seq, at, ok, err := a.next(ctx, s.Config.Name, middle)
		switch {
		case err != nil:
			return nil, err
		case !ok || !at.Before(t):
			high = middle
		default:
			low = min(seq, high-1)
		}
	}
	n, exact, err := a.before(ctx, s, high)
	return &Cost{Messages: n, Oldest: st.FirstTime, Estimate: !exact}, err
}

// next is the first message at or after a sequence.
func (a api) next(ctx context.Context, stream string, seq uint64) (at uint64, t time.Time, ok bool, err error) {
	var got struct {
		Message struct {
			Seq  uint64    `json:"seq"`
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	req := map[string]any{"seq": seq, "next_by_subj": ">"}
	err = a.call(ctx, 0, "STREAM.MSG.GET."+stream, req, &got)
	if refusal(err) == jetstream.JSErrCodeMessageNotFound {
		return 0, time.Time{}, false, nil
	}
	return got.Message.Seq, got.Message.Time, err == nil, err
}

// manyDeleted is how many deleted sequences are worth a list, which the server sends in one message.
const manyDeleted = 50_000

// before counts the messages with a lower sequence: exactly, unless there are too many gaps to list.
func (a api) before(ctx context.Context, s *Stream, seq uint64) (n uint64, exact bool, err error) {
	st := s.State
	if st.Msgs == 0 || seq <= st.FirstSeq {
		return 0, true, nil
	}
	if seq > st.LastSeq {
		return st.Msgs, true, nil
	}
	n = seq - st.FirstSeq
	switch {
	case st.NumDeleted == 0:
		return n, true, nil
	case st.NumDeleted > manyDeleted:
		all := float64(st.LastSeq - st.FirstSeq + 1)
		return uint64(float64(n) / all * float64(st.Msgs)), false, nil
	}
	var info struct {
		State struct {
			Deleted []uint64 `json:"deleted"`
		} `json:"state"`
	}
	if err := a.call(ctx, 0, "STREAM.INFO."+s.Config.Name, map[string]any{"deleted_details": true}, &info); err != nil {
		return 0, false, err
	}
	for _, d := range info.State.Deleted {
		if d >= st.FirstSeq && d < seq {
			n--
		}
	}
	return n, true, nil
}

// perSubject counts what a limit per subject leaves no room for.
func (a api) perSubject(ctx context.Context, stream string, limit uint64) (n uint64, err error) {
	err = a.subjects(ctx, stream, ">", func(_ string, msgs uint64) {
		if msgs > limit {
			n += msgs - limit
		}
	})
	return n, err
}

// subjects goes through the subjects of a stream that match a filter, in pages of the server's size.
func (a api) subjects(ctx context.Context, stream, filter string, each func(subject string, msgs uint64)) error {
	for offset := 0; ; {
		var info struct {
			paged
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		req := map[string]any{"subjects_filter": filter, "offset": offset}
		if err := a.call(ctx, updateTimeout, "STREAM.INFO."+stream, req, &info); err != nil {
			return err
		}
		for s, n := range info.State.Subjects {
			each(s, n)
		}
		n := len(info.State.Subjects)
		if offset += n; n == 0 || offset >= info.Total {
			return nil
		}
	}
}

// unmatched counts what a narrower filter would no longer deliver. The stream tells how many messages a subject has, not
// where they are: exact for a consumer that has had nothing yet, otherwise at most what it has still to
// deliver.
func (a api) unmatched(ctx context.Context, e *consumerEdit) (*Cost, error) {
	want := orAll(e.normal(e.declared).FilterSubjects)
	var n uint64
	for _, f := range orAll(e.have().FilterSubjects) {
		err := a.subjects(ctx, e.stream.declared.Name, f, func(s string, msgs uint64) {
			if overlap(want, []string{s}) == "" {
				n += msgs
			}
		})
		if err != nil {
			return nil, fmt.Errorf("count subjects: %w", err)
		}
	}
	if e.there.Info.Delivered.Stream < e.stream.there.State.FirstSeq && e.declared.DeliverPolicy == jetstream.DeliverAllPolicy {
		return &Cost{Messages: n}, nil // and not what is pending: the server counts that a moment after a publish
	}
	n = min(n, e.there.Info.NumPending)
	return &Cost{Messages: n, Estimate: n > 0}, nil
}
