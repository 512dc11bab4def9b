package server

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// A volume that is really full, or fails, costs more than the publishes that no longer fit: nats-server takes nothing more
// for a stream that it could not write, answers its publishers with silence, and only a start anew helps. So space looks
// how much is free, and before it is nothing has nats-server refuse what goes to file streams.

// Space is how the store's volume is doing, as far as publishing depends on it.
type Space struct {
	Refusing    string    // why publishes to file streams are refused, and the way out; empty while they are taken
	Since       time.Time // when that last changed; zero if it never did
	Keep        uint64    // bytes that stay free: [bus] min_free; 0 for none
	WriteErrors uint64    // that nats-server has met, since New
	Restarts    uint64    // of nats-server within the process, since New
}

// How often to look. What a volume lacks until it is full can be written in the meantime, by us or by others: at the speed
// of light, say, three quarters of what is kept free are left when the bus notices that it is touched.
const (
	lightSpeed   = 2 << 30 // bytes a second that all writers together may bring
	lookOften    = time.Millisecond
	lookSeldom   = time.Second
	lookRefusing = 250 * time.Millisecond
	enoughFor    = lookRefusing // there has to be enough, before publishing goes on
)

// space is that watch. Its fields are its goroutine's, but for the atomic ones.
type space struct {
	s       *Server
	dir     string // of the store
	measure func(dir string) (Room, error)
	pause   time.Duration // between two starts anew, the shortest
	lever   atomic.Pointer[lever]
	broken  atomic.Pointer[error] // what nats-server could not write
	missing chan missing          // what it could not write because a file was not there; whose that was is found out
	errors  atomic.Uint64         // how often
	message atomic.Uint64         // bytes of the largest one that is allowed

	refusing bool
	enough   time.Time // since then there is room; zero while there is not
	since    time.Time // it refuses, or takes
	blind    bool      // the volume does not say
	staged   bool      // what a batch had begun when it began to refuse is looked after
	again    restarts
	reserve  time.Time // when to see to it next,
	weak     time.Time // and to streams that are less durable than the rest

	ctx        context.Context
	stop       func()
	kick, done chan struct{}
	listening  bool // before nats-server was stopped to be started anew
}

func newSpace(s *Server) *space {
	g := &space{s: s, measure: roomOn, pause: restartPause, missing: make(chan missing, 64), kick: make(chan struct{}, 1), done: make(chan struct{})}
	g.ctx, g.stop = context.WithCancel(context.Background())
	close(g.done) // until it runs
	return g
}

// begin looks for the first time, before anybody comes in, and goes on until stop.
func (g *space) begin() {
	g.dir = g.s.opts.Load().StoreDir
	g.message.Store(uint64(g.s.opts.Load().MaxPayload))
	next := g.turn(time.Now())
	g.done = make(chan struct{})
	go func() {
		defer close(g.done)
		timer := time.NewTimer(next)
		defer timer.Stop()
		for {
			select {
			case <-g.ctx.Done():
				return
			case <-g.kick:
			case <-timer.C:
			}
			timer.Reset(g.turn(time.Now()))
		}
	}()
}

// wait returns when it has ended, after stop, or when ctx does.
func (g *space) wait(ctx context.Context) {
	select {
	case <-g.done:
	case <-ctx.Done():
	}
}

// broke is told by the log what nats-server could not write. It may hold any of its locks: nothing here waits for one.
func (g *space) broke(err error) {
	if notThere.MatchString(err.Error()) {
		select {
		case g.missing <- missing{err, time.Now()}:
			g.hurry()
			return
		default:
		}
	}
	g.fails(err)
	g.hurry()
}

// fails has publishes refused until nats-server was started anew.
func (g *space) fails(err error) {
	if l := g.lever.Load(); l != nil {
		l.refuse()
	}
	g.broken.CompareAndSwap(nil, &err)
	g.errors.Add(1)
}

// hurry has the next look be now.
func (g *space) hurry() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// turn looks, does what has to be done, and returns when to look again.
func (g *space) turn(now time.Time) (next time.Duration) {
	g.sift()
	v, b := g.look()
	low := b.short(v, g.refusing)
	switch {
	case low != "":
		g.enough = time.Time{}
	case g.enough.IsZero():
		g.enough = now
	}
	why := g.reason(now, low, b)
	g.pull(why != "")
	g.tell(now, why, b)
	if why := g.needsRestart(now, v); why != "" {
		g.restart(why)
		return lookOften // with other eyes
	}
	if !now.Before(g.weak) {
		g.weak = now.Add(weakEvery)
		g.s.seeWeak(now)
	}
	if g.refusing {
		return lookRefusing
	}
	g.keepReserve(now, v, b)
	return pauseAt(v.Free, b)
}

func pauseAt(free uint64, b bounds) time.Duration {
	if b.keep == 0 {
		return lookSeldom
	}
	full := float64(free) / lightSpeed // seconds; in nanoseconds an int64 would not hold what is free
	return time.Duration(min(max(full/4, lookOften.Seconds()), lookSeldom.Seconds()) * float64(time.Second))
}

// look asks the volume. One that does not answer is taken for one with room: it is said once.
func (g *space) look() (Room, bounds) {
	v, err := g.measure(g.dir)
	if err != nil && !g.blind {
		g.s.log.Warn("how much is free on the store's volume cannot be seen; publishes are not refused before it is full", "store", g.dir, "error", err)
	}
	if g.blind = err != nil; g.blind {
		return Room{}, bounds{}
	}
	return v, boundsOf(g.s.Config().Bus.MinFree, v, g.message.Load())
}

// reason says why publishes have to be refused now, and the way out; empty if they can be taken.
func (g *space) reason(now time.Time, low string, b bounds) string {
	dir, err := g.dir, g.broken.Load()
	switch {
	case err != nil && low != "":
		return fmt.Sprintf("nats-server could not write to the store (%v), and on the volume of %s %s; make room, until %s are free: it is then started anew by itself", g.s.sink.redacted(*err), dir, low, humanize.IBytes(b.again))
	case err != nil:
		return fmt.Sprintf("nats-server could not write to the store (%v); it is started anew as soon as %s can be written", g.s.sink.redacted(*err), dir)
	case low != "" || g.refusing && !(g.staged && g.lasting(now)):
		if low == "" {
			low = "there is room again"
		}
		return fmt.Sprintf("on the volume of %s %s, and %s are kept ([bus] min_free); make room, by deleting other files, purging a stream or shortening its max_age: from %s on publishing goes on by itself", dir, low, humanize.IBytes(b.keep), humanize.IBytes(b.again))
	}
	return ""
}

// lasting reports whether there has been room for a while.
func (g *space) lasting(now time.Time) bool {
	return !g.enough.IsZero() && now.Sub(g.enough) >= enoughFor
}

// pull has nats-server refuse or take. It is done at every look that refuses: a reload may have undone it.
func (g *space) pull(refuse bool) {
	n := g.s.NATS()
	if n == nil {
		return
	}
	l, err := leverOf(n)
	if err != nil {
		if refuse && !g.refusing {
			g.s.log.Error("publishes cannot be refused", "error", err)
		}
		return
	}
	g.lever.Store(l)
	switch {
	case refuse || g.broken.Load() != nil: // of this very moment
		l.refuse()
	case g.refusing:
		l.take(n)
		if g.broken.Load() != nil { // by now
			l.refuse()
		}
	}
}

// tell says what has changed: in the log once, in the state with today's numbers.
func (g *space) tell(now time.Time, why string, b bounds) {
	refuse, took := why != "", now.Sub(g.since).Round(time.Millisecond)
	changed := refuse != g.refusing
	if changed {
		g.refusing, g.since = refuse, now
	}
	if changed && refuse {
		g.enough, g.staged = time.Time{}, false
	}
	is := Space{Refusing: why, Since: g.since, Keep: b.keep, WriteErrors: g.errors.Load(), Restarts: g.again.count}
	if g.s.State().Space != is {
		g.s.set(func(st *State) { st.Space = is })
	}
	switch {
	case changed && refuse:
		g.s.log.Error("publishes to file streams are refused: " + why)
		g.s.incident(Incident{What: Refusing, Why: why})
	case changed:
		g.s.log.Warn("publishes to file streams are taken again", "refused_for", took)
		g.s.incident(Incident{What: Taking, Took: took})
	}
}

// enforce is for whoever has just changed nats-server's options.
func (g *space) enforce(o *natsserver.Options) {
	g.message.Store(uint64(o.MaxPayload))
	if g.shut() {
		if l := g.lever.Load(); l != nil {
			l.refuse()
		}
	}
	g.hurry()
}

// shut reports whether publishes are refused.
func (g *space) shut() bool { return g.s.State().Space.Refusing != "" || g.broken.Load() != nil }

// writeError finds in a line of nats-server's log that it could not write, and what it met: a stream, or a group of a
// cluster, that takes nothing more.
func writeError(format string, args []any) (error, bool) {
	if !strings.Contains(format, "ritical write error") {
		return nil, false
	}
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err, true
		}
	}
	return fmt.Errorf(format, args...), true
}
