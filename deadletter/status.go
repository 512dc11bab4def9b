package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status is how a Collector stands.
type Status struct {
	Letters []Count `json:"letters"`           // by stream and consumer
	Waiting uint64  `json:"waiting"`           // advisories of which there is no letter yet
	Failing string  `json:"failing,omitempty"` // what keeps letters from being stored
}

// Count is how many letters there are of a consumer.
type Count struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	Letters  uint64 `json:"letters"`
}

const anew = time.Minute // is counted although nothing seems to have changed

// tally is the last count.
type tally struct {
	at      time.Time
	counted time.Time
	state   jetstream.StreamState
	status  Status
}

// Status is as of a moment ago, twice Options.Every at the most. It asks nobody.
func (c *Collector) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.tally.status
	s.Failing = c.failing
	return s
}

// count looks how many there are. That it fails is no trouble: what needs to be done fails as well.
func (c *Collector) count(ctx context.Context) {
	c.mu.Lock()
	t := c.tally
	c.mu.Unlock()
	now := time.Now()
	if now.Sub(t.at) < c.o.Every {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, calls)
	defer cancel()
	t.at, t.status.Waiting = now, 0
	if c.con != nil {
		info, err := c.con.Info(ctx)
		if err != nil {
			return
		}
		t.status.Waiting = info.NumPending + uint64(info.NumAckPending)
	}
	st, err := c.js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.status.Letters, t.state = nil, jetstream.StreamState{}
	} else if err != nil {
		return
	} else if state := st.CachedInfo().State; state.LastSeq != t.state.LastSeq || state.Msgs != t.state.Msgs || now.Sub(t.counted) > anew {
		counts, err := countBy(ctx, st)
		if err != nil {
			return
		}
		t.status.Letters, t.state, t.counted = counts, state, now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally = t
}

// countBy counts the letters of a stream by their subjects.
func countBy(ctx context.Context, st jetstream.Stream) ([]Count, error) {
	info, err := st.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", Stream, err)
	}
	sums := map[ID]uint64{}
	for s, n := range info.State.Subjects {
		if t := strings.Split(s, "."); len(t) == 4 {
			sums[ID{Stream: t[1], Consumer: t[2]}] += n
		}
	}
	out := []Count{}
	for _, id := range slices.SortedFunc(maps.Keys(sums), func(a, b ID) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Consumer, b.Consumer))
	}) {
		out = append(out, Count{id.Stream, id.Consumer, sums[id]})
	}
	return out, nil
}

// Waiting is how many advisories wait for a letter; captured says whether stream AUDIT is there and captures them.
func Waiting(ctx context.Context, js jetstream.JetStream) (n uint64, captured bool, err error) {
	audit, err := js.Stream(ctx, Audit)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("stream %s: %w", Audit, err)
	}
	subjects := Captured(audit.CachedInfo().Config.Subjects)
	con, err := audit.Consumer(ctx, Durable)
	if err == nil {
		i := con.CachedInfo()
		return i.NumPending + uint64(i.NumAckPending), len(subjects) > 0, nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, false, fmt.Errorf("stream %s: consumer %s: %w", Audit, Durable, err)
	}
	for _, s := range subjects { // nothing has begun to make letters of them
		info, err := audit.Info(ctx, jetstream.WithSubjectFilter(s))
		if err != nil {
			return 0, false, fmt.Errorf("stream %s: %w", Audit, err)
		}
		for _, more := range info.State.Subjects {
			n += more
		}
	}
	return n, len(subjects) > 0, nil
}
