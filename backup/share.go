package backup

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultRate is how much a backup reads a second while somebody publishes, unless somebody says otherwise.
const DefaultRate = 16 << 20

// LeastRate is the least rate that makes sense.
const LeastRate = 1 << 20

// longest is how long one stream waits at a time: nats-server gives a stream up that nothing is taken of for five seconds.
const longest = 2 * time.Second

// A tally counts what is written to it.
type tally struct{ n, told atomic.Int64 }

func (t *tally) Write(p []byte) (int, error) {
	t.n.Add(int64(len(p)))
	return len(p), nil
}

// since is how much was written since it was asked before.
func (t *tally) since() int {
	n := t.n.Load()
	return int(n - t.told.Swap(n))
}

// share is what several readers may read together in a second while somebody publishes; those who come later wait for
// those before them. A nil one holds nobody up.
type share struct {
	rate   int64         // bytes a second
	lively atomic.Bool   // somebody publishes
	known  chan struct{} // is closed when it has looked long enough to tell

	mu   sync.Mutex
	free time.Time // when the next may read
}

// newShare returns a share that watches what the streams of c take until done is called; nil for a rate of 0.
func newShare(ctx context.Context, c client, rate int64) (s *share, done func()) {
	if rate == 0 {
		return nil, func() {}
	}
	s = &share{rate: rate, known: make(chan struct{})}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.watch(ctx, c.stored)
	}()
	return s, func() { cancel(); <-ended }
}

// tell returns when it is known whether somebody publishes.
func (s *share) tell(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.known:
		return nil
	}
}

// holds reports whether there is somebody to be left the time to.
func (s *share) holds() bool { return s != nil && s.lively.Load() }

// wait returns when what was read, n bytes, has been paid for with time, or with as much of it as nats-server waits for: the rest
// is owed.
func (s *share) wait(ctx context.Context, n int) error {
	if !s.holds() {
		return nil
	}
	t := time.NewTimer(min(s.take(n, time.Now()), longest))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// take is how long n bytes cost from now on, behind those who came before.
func (s *share) take(n int, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(float64(n) / float64(s.rate) * float64(time.Second)))
	return s.free.Sub(now)
}

// reader has what r gives waited for.
func (s *share) reader(ctx context.Context, r io.Reader) io.Reader {
	if s == nil {
		return r
	}
	return &shared{ctx, s, r}
}

type shared struct {
	ctx context.Context
	s   *share
	r   io.Reader
}

func (r *shared) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if werr := r.s.wait(r.ctx, n); werr != nil {
		return n, werr
	}
	return n, err
}

// watch keeps lively up to date until ctx ends.
func (s *share) watch(ctx context.Context, stored func(context.Context) (uint64, error)) {
	var p pulse
	for look := 0; ; look++ {
		begun := time.Now()
		n, err := stored(ctx)
		at := time.Now()
		s.lively.Store(p.look(n, err, at))
		pause := lookEvery
		if look < firstLooks {
			pause = lookFirst
		} else if look == firstLooks {
			close(s.known)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(pause, lookShare*at.Sub(begun))):
		}
	}
}

const (
	lookEvery  = 20 * time.Millisecond
	lookFirst  = 2 * time.Millisecond // nobody wants to wait
	firstLooks = 5
	lookShare  = 20          // times as long as it takes: not to look all the time where there are very many streams
	again      = 3           // changes
	calmAfter  = time.Second // within which they have to come
)

// pulse tells whether somebody publishes: messages are stored again and again. What is stored once now and then may be
// what the bus records of itself. Where nobody tells, somebody may.
type pulse struct {
	seen    bool
	before  uint64
	changes []time.Time
}

// look is told how many messages have been stored in all.
func (p *pulse) look(stored uint64, err error, now time.Time) (beats bool) {
	if err != nil {
		return true
	}
	if p.seen && stored != p.before {
		p.changes = append(p.changes, now)
	}
	p.seen, p.before = true, stored
	for len(p.changes) > 0 && now.Sub(p.changes[0]) > calmAfter {
		p.changes = p.changes[1:]
	}
	return len(p.changes) >= again
}
