package audit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// connection is how a recorder hears JetStream, and writes to it.
type connection struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	subs    []*nats.Subscription
	heard   chan *nats.Msg // nil asks whether all before it were sifted
	sifted  chan struct{}  // the answer
	quit    chan struct{}
	alive   context.Context // ends when the connection is lost, or ended
	lost    context.CancelFunc
	release func()

	gone  chan struct{} // nobody sifts any more
	ended atomic.Bool

	dropped int  // of which it was said
	second  bool // another one was there before, and of that it was not said
}

func (r *Recorder) dial() (*connection, error) {
	nc, release, err := r.connect()
	if err != nil {
		return nil, err
	}
	l := &connection{
		nc: nc, release: release, heard: make(chan *nats.Msg, 8<<10), sifted: make(chan struct{}), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	l.alive, l.lost = context.WithCancel(context.Background())
	changed := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	l.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(calls))
	for _, subject := range []string{apiAdvisory, snapshotAdvisory + "*", restoreAdvisory + "*"} {
		var sub *nats.Subscription
		if err == nil {
			if sub, err = nc.ChanSubscribe(subject, l.heard); err == nil {
				l.subs = append(l.subs, sub)
			}
		}
	}
	go l.sift(r, changed)
	if err == nil {
		ctx, cancel := context.WithTimeout(l.alive, calls)
		err = nc.FlushWithContext(ctx) // from here on it hears
		cancel()
	}
	if err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// sift leaves out what is of no interest, however long something else takes to be stored.
func (l *connection) sift(r *Recorder, changed <-chan nats.Status) {
	defer close(l.gone)
	for {
		select {
		case <-changed: // whoever waits for an answer gets none
			l.lost()
			changed = nil
		case <-l.quit:
			return
		case m := <-l.heard:
			switch {
			case m == nil:
				select {
				case l.sifted <- struct{}{}:
				case <-l.quit:
					return
				}
			case m.Subject != apiAdvisory || !idle(m.Data):
				r.put(item{at: time.Now(), heard: m})
			}
		}
	}
}

// listen returns when everything was heard that nats-server has said until now, or when ctx ends.
func (l *connection) listen(ctx context.Context) {
	if !l.nc.IsConnected() || l.nc.FlushWithContext(ctx) != nil {
		return
	}
	select {
	case l.heard <- nil:
	case <-ctx.Done():
		return
	}
	select {
	case <-l.sifted:
	case <-ctx.Done():
	case <-l.gone:
	}
}

func (l *connection) end() {
	if l.ended.Swap(true) {
		return
	}
	l.lost()
	l.release()
	close(l.quit)
	<-l.gone
}

// linked makes another connection where the one that there was is lost: after a reload nats.go may try for ever to log in
// the way that was right before.
func (r *Recorder) linked() error {
	if r.conn.nc.IsConnected() && r.conn.alive.Err() == nil {
		return nil
	}
	r.mu.Lock()
	next := r.next
	r.next = nil
	r.mu.Unlock()
	if next == nil {
		var err error
		if next, err = r.dial(); err != nil {
			return err
		}
	}
	next.second = true
	r.conn.end()
	r.mu.Lock()
	r.conn = next
	r.mu.Unlock()
	return nil
}

// Renew changes to another connection, as after a reload that has changed how one logs in. When it returns, that one hears.
func (r *Recorder) Renew() error {
	next, err := r.dial()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next != nil {
		go r.next.end()
	}
	r.next = next
	r.conn.lost()
	return nil
}

// overheard records that something may not have been heard.
func (r *Recorder) overheard(ctx context.Context) {
	_ = r.insist(ctx, func(context.Context) error { return nil })
	l := r.conn
	dropped := 0
	for _, s := range l.subs {
		if n, err := s.Dropped(); err == nil {
			dropped += n
		}
	}
	if dropped > l.dropped {
		r.mu.Lock()
		r.status.Missed += uint64(dropped - l.dropped)
		r.mu.Unlock()
		r.store(ctx, time.Now(), Self, "incomplete", incomplete{Missed: uint64(dropped - l.dropped), Why: "JetStream said more than could be heard"})
		l.dropped = dropped
	}
	if l.second {
		l.second = false
		r.store(ctx, time.Now(), Self, "incomplete", incomplete{Why: "the bus lost its connection to itself, and did not hear what JetStream did meanwhile"})
	}
}
