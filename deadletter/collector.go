package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are what a Collector can be told.
type Options struct {
	Log      *slog.Logger
	MaxAge   time.Duration // how long letters are kept, if DEADLETTERS has to be made; 0: for ever
	MaxBytes int64         // how much they may take then; a full stream makes advisories wait in AUDIT. 0: no limit
	Every    time.Duration // how often Status is brought up to date; 0: 5 s. After a crash what was under way waits twice as long
}

// ErrNothingCaptured is when stream AUDIT is not there, or does not capture what there is to collect. Advisories says what
// it has to.
var ErrNothingCaptured = errors.New("stream AUDIT captures no advisories")

const (
	batch    = 16               // advisories asked for at a time
	calls    = 20 * time.Second // for all that one advisory needs
	pauseMin = 100 * time.Millisecond
	pauseMax = 30 * time.Second
)

// Collector makes letters of advisories. Make one with NewCollector, and Run it.
type Collector struct {
	js  jetstream.JetStream
	o   Options
	log *slog.Logger

	con     jetstream.Consumer // nil: to be found, or not needed yet
	subject []string           // of the advisories that AUDIT captures
	heard   bool               // one was sent: AUDIT will have it in a moment
	known   map[uint64]bool    // advisories of which a record was there when con was found
	letters *store             // nil: to be found when a letter comes

	mu      sync.Mutex
	failing string
	tally   tally
}

// NewCollector collects what the JetStream behind js holds.
func NewCollector(js jetstream.JetStream, o Options) *Collector {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	return &Collector{js: js, o: o, log: o.Log}
}

// Prepare makes the durable on AUDIT if there is something to collect. Run does it by itself; this is for who wants to have
// it done.
func (c *Collector) Prepare(ctx context.Context) error {
	if c.con != nil {
		return nil
	}
	return c.find(ctx)
}

// Run works off what there is, and what comes, until ctx ends. An advisory is acknowledged when the letter and the record
// of it are stored; whatever fails is logged once and tried again, so that a crash at any step, a full stream or a bus that
// is started anew costs nothing but time. It returns ErrNothingCaptured when there will be nothing to do.
func (c *Collector) Run(ctx context.Context) error {
	pause := pauseMin
	for ctx.Err() == nil {
		err := c.turn(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrNothingCaptured):
			return err
		case err != nil:
			c.trouble(err)
			c.con = nil
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, pauseMax)
		default:
			pause = pauseMin
		}
	}
	return nil
}

// turn works off one batch.
func (c *Collector) turn(ctx context.Context) error {
	if err := c.Prepare(ctx); err != nil {
		return err
	}
	c.count(ctx)
	if c.con == nil {
		return c.listen(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, c.o.Every)
	defer cancel()
	msgs, err := c.con.Fetch(batch, jetstream.FetchContext(waiting))
	if err != nil {
		return fmt.Errorf("stream %s: consumer %s: %w", Audit, Durable, err)
	}
	for m := range msgs.Messages() { // one by one: letters lie in the order of their advisories
		c.settle(ctx, m)
	}
	if err := msgs.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stream %s: consumer %s: %w", Audit, Durable, err)
	}
	return nil
}

// listen waits for an advisory while there is none in AUDIT. It may miss one, because it was stored just before, or sent
// where this connection hears nothing: what AUDIT has counts, and is looked at again soon.
func (c *Collector) listen(ctx context.Context) error {
	came := make(chan struct{}, 1)
	for _, subject := range c.subject {
		sub, err := c.js.Conn().Subscribe(subject, func(*nats.Msg) {
			select {
			case came <- struct{}{}:
			default:
			}
		})
		if err != nil {
			return fmt.Errorf("advisories: %w", err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	select {
	case <-came:
		c.heard = true
	case <-time.After(c.o.Every):
	case <-ctx.Done():
	}
	return nil
}

// find looks for the durable on AUDIT, and makes it with the first advisory: a bus on which nobody ever gives up has no
// consumers but those that were declared. It reads which advisories were settled without the durable knowing: an
// acknowledgement is on the disk a moment later, and a crash may come first.
func (c *Collector) find(ctx context.Context) error {
	ctx, cancel := c.calling(ctx)
	defer cancel()
	audit, err := c.js.Stream(ctx, Audit)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return ErrNothingCaptured
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", Audit, err)
	}
	c.subject = Captured(audit.CachedInfo().Config.Subjects)
	if len(c.subject) == 0 {
		return ErrNothingCaptured
	}
	if needed, err := c.needed(ctx, audit); err != nil || !needed {
		return err
	}
	con, err := audit.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: Durable, Description: "Makes dead letters of what consumers gave up on", FilterSubjects: c.subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: max(2*c.o.Every, time.Second), MaxDeliver: -1, MaxAckPending: 4 * batch,
		Metadata: map[string]string{Owner: "dead_letters"},
	})
	if err != nil {
		return fmt.Errorf("stream %s: consumer %s: %w", Audit, Durable, err)
	}
	known := map[uint64]bool{}
	if err := recorded(ctx, audit, con.CachedInfo().AckFloor.Stream+1, known); err != nil {
		return err
	}
	c.con, c.known, c.heard = con, known, false
	return nil
}

// needed reports whether there is the durable, or something for it to do.
func (c *Collector) needed(ctx context.Context, audit jetstream.Stream) (bool, error) {
	if c.heard {
		return true, nil
	}
	_, err := audit.Consumer(ctx, Durable)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err == nil, err
	}
	for _, subject := range c.subject {
		_, err := audit.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject))
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err == nil, err
		}
	}
	return false, nil
}

// calling is for what is asked of JetStream: it ends with the connection as well, because what was asked of a bus that was
// going down is answered by nobody.
func (c *Collector) calling(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, calls)
	nc := c.js.Conn()
	lost := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	go func() {
		defer nc.RemoveStatusListener(lost)
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// settle makes a letter of an advisory, or leaves it for later.
func (c *Collector) settle(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := c.calling(ctx)
	defer cancel()
	at, err := m.Metadata()
	if err == nil {
		if err = c.collect(ctx, m, at); err == nil {
			err = m.Ack()
		}
	}
	if err == nil {
		c.well()
		return
	}
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.trouble(err)
		again := time.Second
		if at != nil {
			again <<= min(at.NumDelivered-1, 5)
		}
		_ = m.NakWithDelay(min(again, pauseMax)) // if nobody hears it, ack_wait does the same
	}
}

// collect stores letter and record. It returns nil for what is no letter, too.
func (c *Collector) collect(ctx context.Context, m jetstream.Msg, at *jetstream.MsgMetadata) error {
	if c.known[at.Sequence.Stream] {
		return nil
	}
	a, err := readAdvisory(m.Subject(), m.Data())
	if err != nil {
		c.log.Warn("dead letters: not an advisory of JetStream; it is left alone", "stream", Audit, "sequence", at.Sequence.Stream, "subject", m.Subject(), "error", err)
		return nil
	}
	if a.Stream == Stream { // a letter about a letter would be given up by the same consumer, and so on
		c.log.Warn("dead letters: a consumer gave up on a letter; it stays where it is", "consumer", a.Consumer, "letter", a.Sequence)
		return nil
	}
	l, err := fetch(ctx, c.js, a)
	if err != nil {
		return err
	}
	if a.Stream == Audit && ours(l.Subject) { // as above
		c.log.Warn("dead letters: a consumer gave up on what says that a consumer gave up; it stays where it is", "stream", Audit, "consumer", a.Consumer, "sequence", a.Sequence)
		return nil
	}
	happening := cause(at.Sequence.Stream, at.Timestamp)
	stored, err := c.put(ctx, l, happening)
	if err != nil {
		return err
	}
	r := stored.record()
	r.Advisory = at.Sequence.Stream
	return r.keep(ctx, c.js, "stored", happening, stored)
}

// put stores a letter in DEADLETTERS, which is made when there is none.
func (c *Collector) put(ctx context.Context, l Letter, happening string) (Letter, error) {
	if c.letters == nil {
		s, err := openStore(ctx, c.js, c.o)
		if err != nil {
			return l, err
		}
		c.letters = s
	}
	stored, err := c.letters.put(ctx, l, happening)
	if errors.Is(err, jetstream.ErrNoStreamResponse) { // somebody deleted it
		c.letters = nil
	}
	return stored, err
}

// trouble tells what keeps letters from being stored, once.
func (c *Collector) trouble(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing == "" {
		c.log.Error("dead letters wait in stream AUDIT until they can be stored", "error", err)
	}
	c.failing = err.Error()
}

func (c *Collector) well() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != "" {
		c.log.Info("dead letters are stored again")
	}
	c.failing = ""
}
