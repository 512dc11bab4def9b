package event

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

var (
	// ErrClosed is returned for what is published after Close, and for what Close did not wait for.
	ErrClosed = errors.New("the publisher is closed")

	// ErrUncertain is returned when an event was sent and it is not known whether it is stored: the context ended, or no
	// answer came for too long. To publish the same event again is safe within the stream's duplicate_window.
	ErrUncertain = errors.New("it is not known whether the event is stored")
)

// Ack says that an event is stored. With sync_interval = "always", the bus's default, it is on the disk.
type Ack struct {
	Stream    string
	Sequence  uint64 // in the stream, from 1
	Duplicate bool   // the stream had an event of this id already, at Sequence; nothing was stored again
}

// Publisher stores events in JetStream. It is safe for use by several goroutines, and fastest with many: the more of
// them wait, the more events share one sync of the disk.
//
//   - Group commit: where enough events wait for a stream, they go to it as an atomic batch, which costs a few syncs and
//     not one for each; where few wait they go one by one. What is faster is measured all the time. A stream without
//     allow_atomic takes them one by one.
//   - Each event has its own result. In a batch that the stream refuses, because of one duplicate for instance, each
//     event is then published on its own.
//   - Once: Nats-Msg-Id is the event's id, in lower case. What had no answer when a connection broke is sent again, and stored once.
//   - Order: events of one domain are stored in the order in which Publish and PublishAsync were called, over broken
//     connections too. Where several streams share a domain, that holds for the events of one subject.
//   - Memory is bounded by MaxPending; beyond it publishing waits.
type Publisher struct {
	from  *nats.Conn // whose options are used
	room  *semaphore.Weighted
	bytes int64
	retry time.Duration
	quiet time.Duration // without an answer, before somebody looks why
	worth func(*pace, time.Time) int
	tell  func(error)

	stop context.CancelFunc
	gone chan struct{} // closed when nobody connects any more
	once sync.Once     // idle is closed

	mu      sync.Mutex
	link    *link // nil while there is no connection
	why     error // there is none
	most    int   // bytes of a message, as the last server said
	lanes   map[string]*lane
	split   map[string]bool // domains with a lane for each subject
	largest int             // messages of a batch
	waiting int             // events without a result
	closed  bool
	ended   bool          // there will be no connection any more
	idle    chan struct{} // closed when waiting comes to 0 after Close
	done    []*item       // have their result: whoever waits for it is told when nobody holds the lock
	freed   int64         // of the room
}

// unlock ends what was done under the lock. Those who are told of their result publish again, and would only queue for it.
func (p *Publisher) unlock() {
	done, freed, idle := p.done, p.freed, p.closed && p.waiting == 0
	p.done, p.freed = nil, 0
	p.mu.Unlock()
	for _, it := range done {
		close(it.Future.done)
	}
	if freed > 0 {
		p.room.Release(freed)
	}
	if idle {
		p.once.Do(func() { close(p.idle) })
	}
}

// An Option changes what a Publisher starts from.
type Option func(*Publisher)

// MaxPending is how many bytes of events may wait for their results, with 1 KB for each in addition to its JSON; beyond
// it publishing waits for room. Default: 64 MB.
func MaxPending(bytes int) Option { return func(p *Publisher) { p.bytes = int64(max(bytes, 1)) } }

// RetryFor is how long after it was sent first an event may be sent again, when a connection broke before its answer.
// It has to be shorter than the streams' duplicate_window, beyond which it could be stored twice. Default: 90 s.
func RetryFor(d time.Duration) Option { return func(p *Publisher) { p.retry = d } }

// OnConnection has f called when the connection is lost, with why, and with nil when there is another: by one goroutine,
// which connects again when f returns. Default: nobody is told.
func OnConnection(f func(error)) Option { return func(p *Publisher) { p.tell = f } }

// NewPublisher returns a publisher with a connection of its own, made with the options of nc: acks do not queue behind
// what nc receives, and a connection that breaks is known to have broken. It does not use nc itself. Close it.
func NewPublisher(nc *nats.Conn, opts ...Option) (*Publisher, error) {
	ctx, stop := context.WithCancel(context.Background())
	p := &Publisher{
		from: nc, bytes: 64 << 20, retry: 90 * time.Second, quiet: 10 * time.Second, worth: (*pace).worth, tell: func(error) {},
		stop: stop, gone: make(chan struct{}), idle: make(chan struct{}),
		lanes: map[string]*lane{}, split: map[string]bool{}, largest: largest,
	}
	for _, o := range opts {
		o(p)
	}
	p.room = semaphore.NewWeighted(p.bytes)
	broken, err := p.connect()
	if err != nil {
		stop()
		return nil, fmt.Errorf("publisher: %w", err)
	}
	go p.stayConnected(ctx, broken)
	return p, nil
}

// Publish stores an event and returns its place. While there is no connection it waits for one; when ctx ends it stops
// waiting, and the error says by ErrUncertain whether the event was sent. An event that is not valid is an *InvalidError;
// what the stream refuses is JetStream's own error, such as jetstream.ErrNoStreamResponse or a *jetstream.APIError.
func (p *Publisher) Publish(ctx context.Context, subject string, e Event) (Ack, error) {
	for try := 0; ; try++ {
		it, err := p.submit(ctx, subject, &e)
		if err != nil {
			return Ack{}, fmt.Errorf("publish %s: %w", subject, err)
		}
		select {
		case <-it.done:
		case <-ctx.Done():
			p.leave(it, ctx.Err())
		}
		ack, err := it.Ack()
		if try == 2 || !errors.Is(err, jetstream.ErrNoStreamResponse) {
			return ack, err
		}
		select { // in a cluster a stream is without a leader for moments
		case <-time.After(jetstream.DefaultPubRetryWait):
		case <-ctx.Done():
			return ack, err
		}
	}
}

// PublishAsync is Publish without waiting for the result: only for room, if MaxPending is reached. When ctx ends later
// the event is still stored.
func (p *Publisher) PublishAsync(ctx context.Context, subject string, e Event) (*Future, error) {
	it, err := p.submit(ctx, subject, &e)
	if err != nil {
		return nil, fmt.Errorf("publish %s: %w", subject, err)
	}
	return &it.Future, nil
}

// Future is the result that an event will have.
type Future struct {
	done    chan struct{}
	subject string
	ack     Ack
	err     error
}

// Done is closed when the result is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Ack waits for the result, which is that of Publish.
func (f *Future) Ack() (Ack, error) {
	<-f.done
	if f.err != nil {
		return Ack{}, fmt.Errorf("publish %s: %w", f.subject, f.err)
	}
	return f.ack, nil
}

// Stop takes no more events, and takes back those that were not sent: their result is ErrClosed alone. Those that were have
// theirs when it comes. Close comes after it; it does not wait.
func (p *Publisher) Stop() {
	p.mu.Lock()
	defer p.unlock()
	p.closed = true
	for _, l := range p.lanes {
		l.queue = slices.DeleteFunc(l.queue, func(it *item) bool {
			unsent := it.first.IsZero()
			if unsent {
				p.finish(it, Ack{}, ErrClosed)
			}
			return unsent
		})
		l.pump() // a batch may have waited for them
	}
}

// Close takes no more events, waits until those that it has are stored or ctx ends, and disconnects. What has no result
// by then gets ErrClosed, and ErrUncertain if it was sent; the error says how many those are. More than once is fine.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.unlock()
	select {
	case <-p.idle:
	case <-ctx.Done():
	}
	p.stop()
	left := p.giveUp() // before the end of whoever connects: that takes long where a server does not answer
	select {
	case <-p.gone:
	case <-ctx.Done(): // or never, where OnConnection's function calls this
	}
	if left > 0 {
		return fmt.Errorf("publisher: closed with %d events without a result: %w", left, context.Cause(ctx))
	}
	return nil
}

// giveUp disconnects, and says how many events had no result.
func (p *Publisher) giveUp() int {
	p.mu.Lock()
	defer p.unlock()
	p.ended = true
	if p.link != nil {
		p.drop(p.link, nats.ErrConnectionClosed)
	}
	left := p.waiting
	for _, l := range p.lanes {
		l.flush(ErrClosed)
	}
	return left
}

// item is an event on its way.
type item struct {
	Future
	lane    *lane
	id      string
	data    []byte
	weight  int64
	order   uint64    // in its lane
	first   time.Time // when it was sent first; zero: never
	sent    time.Time // when it was sent over this connection
	alone   bool      // it cannot be part of a batch
	tries   int       // without a stream that answered
	unheard bool      // a connection broke before its answer came
	over    bool      // it has a result, or whoever published it has left
}

const headerBytes = len("NATS/1.0\r\nNats-Msg-Id: 0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99\r\n\r\n")

// submit hands an event to its lane.
func (p *Publisher) submit(ctx context.Context, subject string, e *Event) (*item, error) {
	if err := CheckSubject(subject); err != nil {
		return nil, err
	}
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	it := &item{Future: Future{done: make(chan struct{}), subject: subject}, id: e.MsgID(), data: data}
	it.weight = min(int64(len(data))+1024, p.bytes)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.room.Acquire(ctx, it.weight); err != nil {
		return nil, fmt.Errorf("no room, %d bytes of events may wait: %w", p.bytes, err)
	}
	p.mu.Lock()
	defer p.unlock()
	switch size := len(data) + headerBytes; {
	case p.closed:
		err = ErrClosed
	case size > p.most: // known here, so that nothing behind it goes first
		err = fmt.Errorf("%d bytes with its header are more than the server's max_payload, %d: %w", size, p.most, nats.ErrMaxPayload)
	}
	if err != nil {
		p.room.Release(it.weight)
		return nil, err
	}
	p.waiting++
	p.laneOf(subject).push(it)
	return it, nil
}

// leave gives up waiting for an event. One that was not sent is taken back.
func (p *Publisher) leave(it *item, why error) {
	p.mu.Lock()
	defer p.unlock()
	if !it.first.IsZero() {
		p.settle(it, Ack{}, it.uncertain(why))
		return
	}
	if p.link == nil {
		why = fmt.Errorf("not sent: %w; %w", why, p.why)
	}
	if it.lane.remove(it) {
		p.finish(it, Ack{}, why)
	}
}

func (it *item) sentAt(now time.Time) {
	if it.sent = now; it.first.IsZero() {
		it.first = now
	}
}

// uncertain is err, and that the event may be stored if it was sent.
func (it *item) uncertain(err error) error {
	if it.first.IsZero() {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUncertain, err)
}

// settle gives an event its result, the first one that there is. What refuses the second attempt says nothing of the first, of
// which nobody has heard.
func (p *Publisher) settle(it *item, ack Ack, err error) {
	if it.unheard && err != nil && !errors.Is(err, ErrUncertain) {
		err = it.uncertain(err)
	}
	if !it.over {
		it.over, it.ack, it.err = true, ack, err
		p.done = append(p.done, it)
	}
}

// finish settles an event that nobody has to do with any more.
func (p *Publisher) finish(it *item, ack Ack, err error) {
	p.settle(it, ack, err)
	it.data = nil // whoever keeps the Future does not keep that
	it.lane.waiting--
	p.freed += it.weight
	p.waiting--
}
