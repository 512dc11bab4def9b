package bustest

import (
	"cmp"
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// countUpTo is how many messages are counted one by one.
const countUpTo = 1000

// pending is what the consumer has not delivered yet of what the stream holds. JetStream's own number comes a moment
// after the publish was acknowledged, too late for a test: it is taken where it has to be right, because each message
// since the last delivery is in it, and where there are too many to look.
func (b *Bus) pending(ctx context.Context, i *jetstream.ConsumerInfo) (int, error) {
	s, err := b.js().Stream(ctx, i.Stream)
	if err != nil {
		return 0, err
	}
	after, last := i.Delivered.Stream, s.CachedInfo().State.LastSeq
	if after+i.NumPending >= last || i.Config.DeliverPolicy == jetstream.DeliverLastPerSubjectPolicy {
		return int(i.NumPending), nil
	}
	filters := i.Config.FilterSubjects
	if len(filters) == 0 {
		filters = []string{cmp.Or(i.Config.FilterSubject, ">")}
	}
	n := 0
	for _, f := range filters { // they never overlap
		for seq := after + 1; n < countUpTo; n++ {
			m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(f))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return 0, err
			}
			seq = m.Sequence + 1
		}
	}
	if n == countUpTo {
		n = max(n, int(i.NumPending))
	}
	return n, nil
}
