package integrity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/ledger"
)

// Engine is the nats-server that has the store open, as far as the scrub asks it.
type Engine interface {
	// Streams are the names of the file streams of the bus's account.
	Streams() ([]string, error)
	// Held is what one of them holds now, and which sequences are deleted if that is asked for. fs.ErrNotExist: it is gone.
	Held(ctx context.Context, stream string, deleted bool) (Held, error)
}

// Held is what nats-server says of a stream.
type Held struct {
	Created     time.Time
	First, Last uint64
	Deleted     []uint64 // between the two
	Lost        int      // messages that nats-server itself says it has lost since it opened the store
}

// Scrub reads every message of the store again, beside the nats-server that has it open, at a bounded rate. What it
// cannot read, or finds missing, it reads again until nothing that nats-server may be doing at the moment explains it.
type Scrub struct {
	Store  string // its folder
	Reader blocks.Reader
	Engine Engine
	// Limits are asked for whenever they matter: bytes a second, and in how long every message is read once. Zero for
	// either is never.
	Limits func() (rate int64, period time.Duration)
	Found  func(ledger.Finding)
	Failed func(stream string, err error) // something else went wrong; nil: nobody wants to know
	Quarantine

	// Again is how long it waits before it reads again what it cannot believe; nil are some seconds all in all.
	Again []time.Duration

	mu    sync.Mutex
	done  Progress
	told  map[string]bool
	known memory
	buf   blocks.Buffers
	next  time.Time // when something may be read again
}

// Progress is how far a scrub is.
type Progress struct {
	Bytes   int64     // read since the start
	Streams int       // read whole at least once, with what was remembered from before the start
	Oldest  time.Time // every message of those was read since then
}

// Progress is how far it is now.
func (s *Scrub) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Run scrubs until ctx ends, stream after stream, those first that were read longest ago. It begins after a while.
func (s *Scrub) Run(ctx context.Context, after time.Duration) {
	s.known = readMemory(s.Store)
	s.progress()
	for sleep(ctx, after) == nil {
		after = s.Round(ctx)
	}
}

// Round reads the streams that are due, and says when to come again. Run does it again and again.
func (s *Scrub) Round(ctx context.Context) time.Duration {
	if s.known == nil {
		s.known = readMemory(s.Store)
	}
	rate, period := s.Limits()
	if rate <= 0 || period <= 0 {
		return lookAgain
	}
	names, err := s.Engine.Streams()
	if err != nil {
		s.fail("", err)
	}
	if len(names) == 0 {
		return lookAgain // nats-server may be starting again
	}
	s.known.forget(names)
	slices.SortFunc(names, func(a, b string) int { return s.known[a].Checked.Compare(s.known[b].Checked) })
	wait := lookAgain
	for _, name := range names {
		if ctx.Err() != nil {
			return 0
		}
		due := time.Until(s.known[name].Checked.Add(period))
		if due <= 0 {
			if err := s.pass(ctx, name); err != nil && ctx.Err() == nil && !errors.Is(err, errMoved) {
				s.fail(name, err)
			}
			due = time.Until(s.known[name].Checked.Add(period))
			if err := s.known.write(s.Store); err != nil {
				s.fail(name, err)
			}
		}
		wait = min(wait, due)
		s.progress()
	}
	return max(time.Second, wait)
}

// lookAgain is how often it looks whether there is something to do: there may be new streams, and other limits.
const lookAgain = time.Minute

func (s *Scrub) fail(stream string, err error) {
	if s.Failed != nil {
		s.Failed(stream, err)
	}
}

func (s *Scrub) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.Streams, s.done.Oldest = 0, time.Time{}
	for _, m := range s.known {
		if m.Checked.IsZero() {
			continue
		}
		if s.done.Streams++; s.done.Oldest.IsZero() || m.Checked.Before(s.done.Oldest) {
			s.done.Oldest = m.Checked
		}
	}
}

// pace keeps to the rate.
func (s *Scrub) pace(ctx context.Context) func(int) error {
	return func(n int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		now := time.Now()
		if wait := s.next.Sub(now); wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.C:
			}
			now = time.Now()
		}
		if rate, _ := s.Limits(); rate > 0 {
			s.next = now.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		}
		s.mu.Lock()
		s.done.Bytes += int64(n)
		s.mu.Unlock()
		return nil
	}
}

// errMoved: the stream was made anew, or deleted, while it was read.
var errMoved = errors.New("it is another stream now")

// pass reads one stream.
func (s *Scrub) pass(ctx context.Context, name string) error {
	began := time.Now()
	rel := path.Join(root, ownAccount, "streams", name)
	p := place{ownAccount, name, rel, filepath.Join(s.Store, filepath.FromSlash(rel))}
	before, err := s.held(ctx, name, false, time.Time{})
	if err != nil {
		return err
	}
	sight, err := s.read(ctx, p)
	if err != nil {
		return err
	}
	var all []blocks.Damage
	for _, n := range sight.bad {
		damage, err := s.again(ctx, p, n, before.Created)
		if err != nil {
			return err
		}
		all = append(all, damage...)
	}
	holes, err := s.holes(ctx, p, before, sight, all)
	if err != nil {
		return err
	}
	small, err := s.small(ctx, p)
	if err != nil {
		return err
	}
	silent, err := s.silent(ctx, p, sight)
	if err != nil {
		return err
	}
	if _, err := s.held(ctx, name, false, before.Created); err != nil {
		return err
	}
	s.tell(p, slices.Concat(all, holes, small, silent))
	if before.Lost > 0 {
		s.say(ledger.Finding{Kind: ledger.Damage, Stream: name, Lost: uint64(before.Lost), What: "nats-server could not read messages of it, and took them out"})
	}
	s.known[name] = sight.remember(began)
	return nil
}

// held asks nats-server; a stream that was made at another time than this one is errMoved.
func (s *Scrub) held(ctx context.Context, name string, deleted bool, created time.Time) (Held, error) {
	h, err := s.Engine.Held(ctx, name, deleted)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !created.IsZero() && !h.Created.Equal(created) {
		return h, errMoved
	}
	return h, err
}

// tell reports what is damaged, once, with a copy of it in the quarantine.
func (s *Scrub) tell(p place, all []blocks.Damage) {
	for _, h := range byFile(all) {
		key := fmt.Sprint(p.rel, h.file, h.first.What, h.first.Offset, h.from, h.to)
		if s.told[key] {
			continue
		}
		if s.told == nil {
			s.told = map[string]bool{}
		}
		s.told[key] = true
		Store{Dir: s.Store, Quarantine: s.Quarantine}.copy(p, h)
		f := h.finding(p, consequence(h))
		if h.part == blocks.Messages {
			f.WayOut = "read what can still be read, and restore the stream from a backup: after a crash the bus holds because of it"
		}
		s.say(f)
	}
}

func (s *Scrub) say(f ledger.Finding) {
	f.Found = time.Now()
	s.Found(f)
}

// consequence is what comes of damage while nats-server runs.
func consequence(h *harm) string {
	switch {
	case h.part == blocks.Description || h.part == blocks.Consumer:
		return "nats-server has it in memory; the ledger's copy takes its place at the next start"
	case h.first.What == blocks.Boundary:
		return "they may be delivered with a wrong subject or wrong headers"
	case h.part == blocks.Messages && h.behind > 0:
		return fmt.Sprintf("nats-server may cut off the rest of the block, %s", readable(h.behind))
	}
	return ""
}
