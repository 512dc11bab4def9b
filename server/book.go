package server

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	bookEvery = time.Second      // while something changes
	bookBeat  = time.Minute      // while nothing does: the next start judges the clock by it
	askedFor  = 1 * time.Minute  // how long a request to remove messages may take
	bookFlush = 10 * time.Second // how long the server may take to say what was asked of it
)

// book keeps the ledger while the bus runs.
type book struct {
	s       *Server
	led     *ledger.Book
	page    ledger.Page // the last one written
	keep    ledger.Keep
	folders folders
	seen    map[string]sight
	nc      *nats.Conn

	mu    sync.Mutex           // over page, asked, going, and writing pages
	asked map[string]time.Time // streams of which somebody asked to remove messages, or to change the rules
	going map[string]time.Time // streams that somebody asked to delete
	msgs  chan *nats.Msg       // such requests; nil asks whether all before it were heard
	heard chan struct{}        // the answer
	deaf  atomic.Bool          // some of them may not have been heard

	quit    chan struct{}
	ended   sync.WaitGroup
	failing bool
	lost    map[string]bool // streams of which it was told that something is lost
}

// removals are JetStream's requests after which a stream may hold less.
var removals = []string{"STREAM.PURGE.*", "STREAM.MSG.DELETE.*", "STREAM.UPDATE.*", "STREAM.RESTORE.*", "STREAM.DELETE.*"}

// opened is what keepLedger needs and can be had before the layout stands; nil where no ledger is kept.
type opened struct {
	*book
	err error
}

func (o *opened) close() {
	if o != nil && o.nc != nil {
		o.nc.Close()
	}
}

// openBook gets it, and sends it when it has it.
func (s *Server) openBook() <-chan *opened {
	out := make(chan *opened, 1)
	if !s.ledgerKept() {
		out <- nil
		return out
	}
	go func() {
		b := &book{
			s: s, led: s.ledger, folders: folders{}, seen: map[string]sight{}, lost: map[string]bool{},
			asked: map[string]time.Time{}, going: map[string]time.Time{},
			msgs: make(chan *nats.Msg, 64<<10), heard: make(chan struct{}), quit: make(chan struct{}),
		}
		var err error
		b.nc, err = s.Connect(nats.Name("deltran-bus ledger"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { b.deaf.Store(true) }))
		if b.keep, _ = s.ledger.Keepsakes(); b.keep == nil {
			b.keep = ledger.Keep{} // they are copies; new ones are made
		}
		out <- &opened{b, err}
	}()
	return out
}

// keepLedger begins to keep the ledger: it listens for what clients ask to be removed, and writes a page every second if
// there is anything new. If somebody's word was accepted, the page that says so is durable first.
func (s *Server) keepLedger(o *opened, accepted bool) (err error) {
	if o == nil {
		return nil
	}
	if o.err != nil {
		return fmt.Errorf("ledger: %w", o.err)
	}
	b, nc := o.book, o.nc
	if b.page, err = s.sameAgain(s.page); err != nil {
		nc.Close()
		return err
	}
	if err := b.subscribe(); err != nil {
		nc.Close()
		return fmt.Errorf("ledger: %w", err)
	}
	s.owned.Add(1)
	b.ended.Go(b.hear)
	if accepted { // what was is forgotten, and the word is used up
		b.page.Streams = nil
		if err := errors.Join(b.turn(time.Now()), s.ledger.UseUp()); err != nil {
			b.stop()
			return fmt.Errorf("ledger: %w", err)
		}
	}
	s.book = b
	b.ended.Go(b.run)
	return nil
}

// subscribe returns when NATS listens for removals, before any client can ask for one.
func (b *book) subscribe() error {
	for _, r := range removals {
		if _, err := b.nc.ChanSubscribe("$JS.API."+r, b.msgs); err != nil {
			return err
		}
	}
	return b.nc.FlushTimeout(bookFlush)
}

// stop ends it without a last page.
func (b *book) stop() {
	close(b.quit)
	b.ended.Wait()
	b.nc.Close()
	b.s.owned.Add(-1)
}

// hear notes what clients ask to be removed, and has it written into the last page at once: a kill right after a stream was
// deleted must not look like a loss. It waits for nothing else.
func (b *book) hear() {
	for {
		select {
		case <-b.quit:
			return
		case m := <-b.msgs:
			if m == nil {
				select {
				case b.heard <- struct{}{}:
				case <-b.quit:
				}
				continue
			}
			b.mu.Lock()
			if now := time.Now(); b.note(m, now) {
				page := b.promised(now)
				if b.led.Write(page) == nil { // if it cannot be written, the next turn says so
					b.page = page
				}
			}
			b.mu.Unlock()
		}
	}
}

// note remembers what a client asks for; news says that it was not asked a moment ago.
func (b *book) note(m *nats.Msg, now time.Time) (news bool) {
	name := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	_, known := b.asked[name]
	b.asked[name] = now
	if strings.HasPrefix(m.Subject, "$JS.API.STREAM.DELETE.") {
		_, known = b.going[name]
		b.going[name] = now
	}
	return !known
}

// listen returns when everything was heard that was asked until now. It is false if NATS is being shut down, or has to.
func (b *book) listen() bool {
	if b.nc.FlushTimeout(bookFlush) != nil {
		return false
	}
	b.msgs <- nil
	select {
	case <-b.heard:
		return true
	case <-b.quit:
		return false
	}
}

func (b *book) run() {
	tick := time.NewTicker(bookEvery)
	defer tick.Stop()
	for {
		err := b.turn(time.Now())
		if noSpace(err) && b.s.spare() {
			err = b.turn(time.Now())
		}
		if err != nil && !b.failing {
			b.s.log.Error("the ledger cannot be written; what is lost from now on may not be noticed at the next start", "error", err)
		}
		b.failing = err != nil
		select {
		case <-b.quit:
			return
		case <-tick.C:
		}
	}
}

// turn writes a page if there is anything new.
func (b *book) turn(now time.Time) error {
	n := b.s.NATS()
	if n == nil || !n.Running() || !n.JetStreamEnabled() {
		return nil
	}
	page, err := b.look(n, now)
	if err != nil {
		return err
	}
	if len(b.less(page, now)) > 0 { // a request may still be on its way to us
		if !b.listen() {
			return nil
		}
		if page, err = b.look(n, now); err != nil {
			return err
		}
		b.tell(&page, now)
	}
	changed, err := b.keep.Refresh(b.s.opts.Load().StoreDir, b.s.sound)
	if err == nil && changed {
		err = b.led.Keep(b.keep)
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaf.Swap(false) { // it may have been about any
		for _, st := range page.Streams {
			b.asked[st.Name], b.going[st.Name] = now, now
		}
	}
	asked, going := b.requests(now)
	for i := range page.Streams {
		st := &page.Streams[i]
		st.Removing, st.Going = asked[st.Name], going[st.Name]
	}
	same := b.page
	same.Written = page.Written
	if reflect.DeepEqual(same, page) && now.Sub(b.page.Written) < bookBeat {
		_ = b.led.Look(now) // it only makes the next start surer
		return nil
	}
	if err := b.led.Write(page); err != nil {
		return err
	}
	b.page = page
	return nil
}

// look makes a page of what NATS holds now, and sees to it that it is durable.
func (b *book) look(n *natsserver.Server, now time.Time) (ledger.Page, error) {
	page := ledger.Page{Written: now.UTC(), Server: natsserver.VERSION, Boot: bootID(), Durable: b.s.opts.Load().SyncAlways}
	streams, err := held(n)
	if err != nil {
		return page, err
	}
	maps.DeleteFunc(b.seen, func(name string, _ sight) bool { // one that comes back, as a restore brings it, is not the one that went
		return !slices.ContainsFunc(streams, func(st ledger.Stream) bool { return st.Name == name })
	})
	last := b.last()
	var errs []error
	for _, st := range streams {
		before, known := last.Stream(st.Name)
		if !known || st.Last != before.Last {
			err := b.folders.sync(b.s.streamDir(st.Name))
			if given := !known || !before.Created.Equal(st.Created) || st.Last < before.Last; given && st.Last > 0 {
				err = errors.Join(err, syncTree(b.s.streamDir(st.Name), time.Time{}, false)) // what a restore brings, nats-server does not sync
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("stream %s: %w", st.Name, err))
				if known {
					page.Streams = append(page.Streams, before)
				}
				continue
			}
		}
		st.Last, st.LastTime = b.settled(st, before, now)
		st.Mark(before.Marks)
		page.Streams = append(page.Streams, st)
	}
	if len(errs) == len(streams) && len(errs) > 0 {
		return page, errors.Join(errs...)
	}
	return page, nil
}

// settled is the last sequence of a stream that is certainly on the disk. nats-server counts the messages of an atomic batch
// when it takes them, and syncs them together a moment later: so it is what was there a second ago.
func (b *book) settled(st, before ledger.Stream, now time.Time) (uint64, time.Time) {
	had := b.seen[st.Name]
	if had.at.IsZero() || !had.Created.Equal(st.Created) {
		had = sight{Stream: st, at: now, last: st.First - 1}
		if before.Created.Equal(st.Created) {
			had.last, had.lastTime = before.Last, before.LastTime
		}
	}
	if now.Sub(had.at) >= bookEvery*9/10 {
		had.last, had.lastTime = had.Last, had.LastTime
		had.Stream, had.at = st, now
	}
	if had.last > st.Last { // deleted and restored from a backup, which keeps the time of its creation
		had.last, had.lastTime = st.Last, st.LastTime
	}
	b.seen[st.Name] = had
	return had.last, had.lastTime
}

// A sight is a stream as it was at one moment, and what was known of it to be settled then.
type sight struct {
	ledger.Stream
	at       time.Time
	last     uint64
	lastTime time.Time
}

// requests are the streams of which removal was asked, not so long ago.
func (b *book) requests(now time.Time) (asked, going map[string]bool) {
	recent := func(m map[string]time.Time) map[string]bool {
		maps.DeleteFunc(m, func(_ string, t time.Time) bool { return now.Sub(t) > askedFor })
		out := map[string]bool{}
		for name := range m {
			out[name] = true
		}
		return out
	}
	return recent(b.asked), recent(b.going)
}

// less is what the new page holds less than the last one promises, as far as is known.
func (b *book) less(page ledger.Page, now time.Time) []ledger.Finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return ledger.Compare(b.promised(now), page.Streams, now)
}

// last is the last page that was written.
func (b *book) last() ledger.Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.page
}

// promised is the last page, with what was asked since.
func (b *book) promised(now time.Time) ledger.Page {
	asked, going := b.requests(now)
	page := b.page
	page.Streams = slices.Clone(page.Streams)
	for i := range page.Streams {
		st := &page.Streams[i]
		st.Removing, st.Going = st.Removing || asked[st.Name], st.Going || going[st.Name]
	}
	return page
}

// tell reports what is lost while the bus runs. The page goes on promising it: the next start will hold.
func (b *book) tell(page *ledger.Page, now time.Time) {
	last := b.last()
	for _, f := range b.less(*page, now) {
		if before, ok := last.Stream(f.Stream); ok {
			page.Streams = slices.DeleteFunc(page.Streams, func(st ledger.Stream) bool { return st.Name == f.Stream })
			page.Streams = append(page.Streams, before)
			slices.SortFunc(page.Streams, byName)
		}
		if b.lost[f.Stream] {
			continue
		}
		b.lost[f.Stream] = true
		f.Holds = false
		b.s.report(f)
	}
}

func byName(a, b ledger.Stream) int { return cmp.Compare(a.Name, b.Name) }

// held is what the file streams of the bus's account hold now.
func held(n *natsserver.Server) ([]ledger.Stream, error) {
	jsz, err := n.Jsz(&natsserver.JSzOptions{Account: natsserver.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Config: true})
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", err)
	}
	var out []ledger.Stream
	for _, acc := range jsz.AccountDetails {
		for _, st := range acc.Streams {
			if st.Config != nil && st.Config.Storage == natsserver.FileStorage {
				out = append(out, line(st.Name, st.Created, *st.Config, st.State))
			}
		}
	}
	slices.SortFunc(out, byName)
	return out, nil
}

// line is one stream in the ledger.
func line(name string, created time.Time, cfg natsserver.StreamConfig, st natsserver.StreamState) ledger.Stream {
	l := ledger.Stream{
		Name: name, Created: created.UTC(), First: st.FirstSeq, Last: st.LastSeq, Deleted: uint64(st.NumDeleted),
		MaxAge: cfg.MaxAge, Loose: loose(cfg),
	}
	if l.First == 0 { // never held any
		l.First = 1
	}
	if st.Msgs > 0 {
		l.FirstTime, l.LastTime = st.FirstTime.UTC(), st.LastTime.UTC()
	}
	return l
}

// loose reports whether a stream's own rules take messages out that max_age would leave.
func loose(c natsserver.StreamConfig) bool {
	return c.Retention != natsserver.LimitsPolicy || c.Mirror != nil || c.MaxMsgs > 0 || c.MaxMsgsPer > 0 ||
		c.MaxBytes > 0 && c.Discard == natsserver.DiscardOld || c.AllowMsgTTL || c.AllowRollup || c.SubjectDeleteMarkerTTL > 0 || c.AllowMsgSchedules
}

// leave stops keeping the ledger while NATS still runs, and writes down what was asked until then: a full disk may have
// kept it from that.
func (b *book) leave() error {
	b.listen()
	b.stop()
	return b.led.Write(b.promised(time.Now()))
}

// end stops keeping the ledger. The function it returns writes the last page, when NATS is down and everything is
// on the disk.
func (b *book) end() (last func() error) {
	others := b.s.Clients() > 0
	streams, err := held(b.s.NATS())
	b.stop()
	return func() error {
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		page := ledger.Page{Written: time.Now().UTC(), Server: natsserver.VERSION, Boot: bootID(), Clean: true, Durable: true}
		manifest, err := ledger.Survey(b.s.opts.Load().StoreDir)
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		for _, l := range streams {
			meta := filepath.ToSlash(filepath.Join(natsserver.JetStreamStoreDir, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams", l.Name, natsserver.JetStreamMetaFile))
			if _, there := manifest[meta]; !there || b.lost[l.Name] {
				continue // deleted while the bus was stopping
			}
			before, _ := b.page.Stream(l.Name)
			l.Mark(before.Marks)
			l.Removing = others // they may have asked for it at the last moment
			page.Streams = append(page.Streams, l)
		}
		for _, l := range b.page.Streams { // what was found lost stays promised
			if b.lost[l.Name] {
				page.Streams = append(page.Streams, l)
			}
		}
		slices.SortFunc(page.Streams, byName)
		if _, err := b.keep.Refresh(b.s.opts.Load().StoreDir, b.s.sound); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		if err := errors.Join(b.led.Keep(b.keep), b.led.Stop(manifest), b.led.Write(page)); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		return nil
	}
}
