package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are what a Recorder can be told.
type Options struct {
	Log     *slog.Logger
	Keeper  func() (*Keeper, error)         // asked once, before the first record; nil: a key for this process
	Repeats time.Duration                   // how long what repeats a refusal is counted before that is recorded; 0: 1 min
	Look    func(id uint64) (w Who, _ bool) // who a connection is or was; may be nil
	Queue   int                             // how much may wait to be recorded; 0: 4096
}

const (
	calls    = 5 * time.Second // for one request
	pauseMin = 100 * time.Millisecond
	pauseMax = 30 * time.Second
)

// Connect makes a connection to the account of the streams, and how to end it.
type Connect func() (nc *nats.Conn, release func(), err error)

// Recorder records. Make one with Listen, Run it, and Close it.
type Recorder struct {
	o       Options
	log     *slog.Logger
	connect Connect
	conn    *connection
	next    *connection // to change to; behind mu
	in      chan item

	keeper *Keeper
	head   link
	seq    uint64 // of head
	layout layout

	last    item          // of all; Close says which
	closing chan struct{} // no more comes
	once    sync.Once
	ended   chan struct{}

	mu      sync.Mutex
	limits  *limiter
	status  Status
	missed  uint64 // of which no record says yet
	failing bool   // it has been logged
}

// item is something that is to be recorded.
type item struct {
	at     time.Time
	entity string
	action string
	data   any       // of a record that is complete
	heard  *nats.Msg // an advisory
	due    *due      // refusals
}

// Listen begins to hear what JetStream does for others; what happens from now on is recorded when Run runs.
func Listen(connect Connect, o Options) (*Recorder, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Repeats <= 0 {
		o.Repeats = time.Minute
	}
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	r := &Recorder{
		o: o, log: o.Log, connect: connect, in: make(chan item, o.Queue), layout: layout{known: map[string]settings{}},
		limits: newLimiter(o.Repeats, time.Now()), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	l, err := r.dial()
	if err != nil {
		return nil, err
	}
	r.conn = l
	return r, nil
}

// put has something recorded, if there is room for it to wait.
func (r *Recorder) put(i item) {
	select {
	case r.in <- i:
	default:
		r.mu.Lock()
		r.missed++
		r.status.Missed++
		r.mu.Unlock()
	}
}

// Record has something recorded that the bus says of itself: entity and action are its type, data becomes a JSON object.
// It never waits.
func (r *Recorder) Record(entity, action string, data any) {
	r.put(item{at: time.Now(), entity: entity, action: action, data: data})
}

// Refused has a refusal recorded, or counted. It never waits.
func (r *Recorder) Refused(refusal Refusal) {
	now := time.Now()
	refusal.Who = refusal.Who.short()
	refusal.Reason, refusal.Subject = short(refusal.Reason), short(refusal.Subject)
	r.mu.Lock()
	d, at := r.limits.add(refusal, now)
	r.mu.Unlock()
	if at {
		r.put(item{at: now, due: &d})
	}
}

// Status is how it stands. It asks nobody.
func (r *Recorder) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Waiting = len(r.in)
	return s
}

// Close records what is waiting, and one thing more, until ctx ends at the latest; then it ends the connection. Run has to
// have been called. Nothing is recorded afterwards.
func (r *Recorder) Close(ctx context.Context, entity, action string, data any) {
	r.once.Do(func() {
		r.mu.Lock()
		conn := r.conn
		r.mu.Unlock()
		conn.listen(ctx)
		r.last = item{at: time.Now(), entity: entity, action: action, data: data}
		close(r.closing)
	})
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
}

// Abandon ends the connection of a recorder that does not run.
func (r *Recorder) Abandon() { r.conn.end() }

// Run records until Close, or until ctx ends. What cannot be stored is tried again, and said once.
func (r *Recorder) Run(ctx context.Context) {
	defer close(r.ended)
	defer func() {
		r.conn.end()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.next != nil {
			r.next.end()
		}
	}()
	if !r.prepare(ctx) {
		return
	}
	tick := time.NewTicker(min(r.o.Repeats, 10*time.Second) / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case i := <-r.in:
			r.work(ctx, i)
		case now := <-tick.C:
			r.overheard(ctx)
			r.counted(ctx, now, false)
		case <-r.closing:
			for len(r.in) > 0 && ctx.Err() == nil {
				r.work(ctx, <-r.in)
			}
			r.overheard(ctx)
			r.counted(ctx, time.Now(), true)
			r.work(ctx, r.last)
			return
		}
	}
}

// counted records the refusals that were counted until now.
func (r *Recorder) counted(ctx context.Context, now time.Time, all bool) {
	r.mu.Lock()
	ready := r.limits.flush(now, all)
	r.mu.Unlock()
	for _, d := range ready {
		r.work(ctx, item{at: now, due: &d})
	}
}

// prepare finds the end of the chain, and what there is.
func (r *Recorder) prepare(ctx context.Context) bool {
	var lost uint64
	ok := r.insist(ctx, func(ctx context.Context) (err error) {
		if r.keeper == nil {
			open := r.o.Keeper
			if open == nil {
				open = func() (*Keeper, error) { return OpenKeeper("") }
			}
			if r.keeper, err = open(); err != nil {
				return err
			}
		}
		lost, err = r.find(ctx)
		return err
	})
	if !ok {
		return false
	}
	if lost > 0 { // before anything else, so that the gap has its reason beside it
		r.log.Warn("audit: the last records that were stored are gone", "records", lost)
		r.store(ctx, time.Now(), Self, "incomplete", incomplete{Gone: lost, Why: "the stream ended before the last record that the bus knows to have been stored"})
	}
	seeing, cancel := context.WithTimeout(ctx, calls)
	defer cancel()
	defer context.AfterFunc(r.conn.alive, cancel)()
	if seen, err := observe(seeing, r.conn.nc); err == nil {
		r.layout.adopt(seen)
	} else { // what changes is recorded without what it was before
		r.log.Debug("audit: what there is was not listed", "error", err)
	}
	return true
}

// incomplete is a record about what could not be recorded.
type incomplete struct {
	Missed uint64 `json:"missed,omitempty"` // what happened and has no record
	Gone   uint64 `json:"gone,omitempty"`   // records that were there
	Why    string `json:"why"`
}

// work makes a record of one item, and stores it.
func (r *Recorder) work(ctx context.Context, i item) {
	switch {
	case i.heard != nil:
		r.advisory(ctx, i)
	case i.due != nil:
		r.refusal(ctx, i)
	default:
		r.store(ctx, i.at, i.entity, i.action, i.data)
	}
	r.mu.Lock()
	missed := r.missed
	r.missed = 0
	r.mu.Unlock()
	if missed > 0 {
		r.store(ctx, time.Now(), Self, "incomplete", incomplete{Missed: missed, Why: "more happened than could be stored"})
	}
}

func (r *Recorder) advisory(ctx context.Context, i item) {
	var a advisory
	if err := json.Unmarshal(i.heard.Data, &a); err != nil {
		r.log.Warn("audit: not an advisory of JetStream", "subject", i.heard.Subject, "error", err)
		return
	}
	if i.heard.Subject != apiAdvisory {
		action := "backed-up"
		if strings.HasPrefix(i.heard.Subject, restoreAdvisory) {
			action = "restored"
		}
		r.store(ctx, a.Time, Streams, action, did{By: a.who(), Stream: a.Stream, Began: a.Start.UTC(), Bytes: a.Bytes, Error: short(a.Error)})
		return
	}
	entity, action, d, refused := r.layout.read(a)
	switch {
	case entity == "":
	case refused != "":
		r.Refused(Refusal{Entity: JetStream, Who: d.By, Reason: refused, Subject: a.Subject})
	default:
		r.store(ctx, a.Time, entity, action, d)
	}
}

// refused is a record about refusals.
type refused struct {
	By      *Who   `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Action  string `json:"action,omitempty"`
	Subject string `json:"subject,omitempty"`
	Others  bool   `json:"others,omitempty"` // of several clients or subjects, counted together
	repeated
}

var actions = map[string]string{Client: "rejected", Permission: "denied", JetStream: "refused"}

func (r *Recorder) refusal(ctx context.Context, i item) {
	d := *i.due
	out := refused{Reason: d.Reason, Action: d.Action, Subject: d.Subject, Others: d.others, repeated: d.repeated}
	if !d.others {
		who := d.Who
		if r.o.Look != nil && who.ID > 0 && d.Entity != JetStream {
			if known, ok := r.o.Look(who.ID); ok {
				who = known.short()
			}
		}
		out.By = &who
	}
	r.store(ctx, i.at, d.Entity, actions[d.Entity], out)
}

// store appends a record to the chain, however long that takes.
func (r *Recorder) store(ctx context.Context, at time.Time, entity, action string, data any) {
	e, err := event.New(entity+"."+action, Source, data)
	if err != nil {
		r.log.Error("audit: no record", "of", entity+"."+action, "error", err)
		return
	}
	if !at.IsZero() {
		e.Timestamp = at.UTC().Truncate(time.Microsecond)
	}
	payload, err := e.Encode()
	if err != nil {
		r.log.Error("audit: no record", "of", entity+"."+action, "error", err)
		return
	}
	m := nats.NewMsg(prefix + entity + "." + action)
	m.Data = payload
	next := r.head.after(r.keeper.key, m.Subject, payload)
	next.header(m.Header)
	tried := false
	stored := r.insist(ctx, func(ctx context.Context) error {
		if tried { // it may be there, and nobody could say so
			before := r.head
			if _, err := r.find(ctx); err != nil {
				return err
			}
			if r.head.hash == next.hash {
				return nil
			}
			if r.head.number < before.number { // the stream was taken away, or put back: the number goes on
				r.head = before
			}
		}
		tried = true
		ack, err := r.conn.js.PublishMsg(ctx, m, jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(Stream))
		if err == nil {
			r.seq = ack.Sequence
		}
		return err
	})
	if !stored {
		return
	}
	r.head = next
	if err := r.keeper.remember(Head{Key: next.key, Number: next.number, Sequence: r.seq, Hash: next.hash.String()}); err != nil {
		r.log.Debug("audit: the end of the chain is not remembered", "error", err)
	}
	r.mu.Lock()
	r.status.Stored++
	r.mu.Unlock()
}

// insist does something until it works. It is false if ctx ended before.
func (r *Recorder) insist(ctx context.Context, do func(context.Context) error) bool {
	for pause := pauseMin; ctx.Err() == nil; pause = min(2*pause, pauseMax) {
		once, cancel := context.WithTimeout(ctx, calls)
		err := r.linked()
		if err == nil {
			unhook := context.AfterFunc(r.conn.alive, cancel)
			err = do(once)
			unhook()
		}
		cancel()
		if err == nil {
			r.well()
			return true
		}
		if ctx.Err() == nil {
			r.trouble(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return false
}

// trouble says once what keeps records from being stored.
func (r *Recorder) trouble(err error) {
	r.mu.Lock()
	r.status.Failing = err.Error()
	again := r.failing
	r.failing = true
	r.mu.Unlock()
	if !again {
		r.log.Error("the audit trail cannot be written; what happens is kept until it can, as far as there is room", "stream", Stream, "error", err)
	}
}

func (r *Recorder) well() {
	r.mu.Lock()
	was := r.failing
	r.failing, r.status.Failing = false, ""
	r.mu.Unlock()
	if was {
		r.log.Info("the audit trail is written again")
	}
}

// find looks for the end of the chain. lost is how many records the keeper remembers that are not there; the chain then
// goes on behind those.
func (r *Recorder) find(ctx context.Context) (lost uint64, err error) {
	stream, err := r.conn.js.Stream(ctx, Stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", Stream, err)
	}
	if !Captured(stream.CachedInfo().Config.Subjects) {
		return 0, fmt.Errorf("stream %s does not capture %s*.*", Stream, prefix)
	}
	state := stream.CachedInfo().State
	remembered, err := r.keeper.head()
	if err != nil {
		remembered = Head{}
	}
	name := r.keeper.Key()
	from := remembered.Sequence
	if remembered.Key != name || from > state.LastSeq || from < state.FirstSeq {
		from = 1 // another key, or another stream
	}
	last, at := link{key: name}, uint64(0)
	for m, err := range scan(ctx, stream, Subjects(), max(from, state.FirstSeq), state.LastSeq) {
		if err != nil {
			return 0, err
		}
		if l, chained, err := readLink(m.Subject, m.Header, m.Data); chained && err == nil && l.key == name && l.number > last.number {
			last, at = l, m.Sequence
		}
	}
	if remembered.Key == name && remembered.Number > last.number {
		lost = remembered.Number - last.number
		last.number = remembered.Number
		if h, err := parseHash(remembered.Hash); err == nil {
			last.hash = h
		}
	}
	r.head, r.seq = last, at
	return lost, nil
}
