package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go/jetstream"
)

var errNoHash = errors.New("not a hash")

func parseHash(s string) (h hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, errNoHash
	}
	copy(h[:], b)
	return h, nil
}

// scan walks the messages of some subjects between two sequences, in their order. It makes no consumer: whoever may look
// at messages may do it.
func scan(ctx context.Context, stream jetstream.Stream, subjects []string, from, to uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		next := make([]*jetstream.RawStreamMsg, len(subjects)) // the first of each that has not been seen
		get := func(i int, seq uint64) error {
			m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subjects[i]))
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence > to {
				m, err = nil, nil
			}
			if err != nil {
				return fmt.Errorf("stream %s: %w", Stream, err)
			}
			next[i] = m
			return nil
		}
		for i := range subjects {
			if to == 0 {
				return
			}
			if err := get(i, max(from, 1)); err != nil {
				yield(nil, err)
				return
			}
		}
		for {
			first := -1
			for i, m := range next {
				if m != nil && (first < 0 || m.Sequence < next[first].Sequence) {
					first = i
				}
			}
			if first < 0 {
				return
			}
			m := next[first]
			if !yield(m, nil) {
				return
			}
			if err := get(first, m.Sequence+1); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// Entry is one record as it is stored.
type Entry struct {
	Sequence uint64 // in the stream
	Number   uint64 // in its chain; 0 for one that is in none, as those of dead letters are
	Stored   time.Time
	Event    event.Event
	Invalid  string // why it is not what the bus has written
}

// deadLetters are the records of package deadletter, which stand in no chain: what repeats them is stored once.
const deadLetters = prefix + "dead-letter.*"

// Read walks the bus's own records that were stored since then, in their order; since the beginning for a zero time.
func Read(ctx context.Context, js jetstream.JetStream, since time.Time) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		stream, err := js.Stream(ctx, Stream)
		if err != nil {
			yield(Entry{}, fmt.Errorf("stream %s: %w", Stream, err))
			return
		}
		state := stream.CachedInfo().State
		from := state.FirstSeq
		if !since.IsZero() {
			if from, err = firstSince(ctx, stream, state, since); err != nil {
				yield(Entry{}, err)
				return
			}
		}
		for m, err := range scan(ctx, stream, append(Subjects(), deadLetters), from, state.LastSeq) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e, ours := entry(m)
			if ours && !yield(e, nil) {
				return
			}
		}
	}
}

// entry is a message as a record; ours is false for an event of somebody else.
func entry(m *jetstream.RawStreamMsg) (e Entry, ours bool) {
	e = Entry{Sequence: m.Sequence, Stored: m.Time}
	l, chained, err := readLink(m.Subject, m.Header, m.Data)
	e.Number = l.number
	if err != nil {
		e.Invalid = err.Error()
	}
	ev, bad := event.Decode(m.Data)
	if bad != nil {
		e.Invalid = bad.Error()
		return e, chained
	}
	e.Event = ev
	return e, chained || ev.Source == Source
}

// firstSince is the sequence of the first message that was stored since then, found by halves.
func firstSince(ctx context.Context, stream jetstream.Stream, state jetstream.StreamState, since time.Time) (uint64, error) {
	low, high := state.FirstSeq, state.LastSeq+1
	for low < high {
		mid := low + (high-low)/2
		m, err := stream.GetMsg(ctx, mid, jetstream.WithGetMsgSubject(">"))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			high = mid
		case err != nil:
			return 0, fmt.Errorf("stream %s: %w", Stream, err)
		case m.Time.Before(since):
			low = m.Sequence + 1
		default:
			high = mid
		}
	}
	return low, nil
}

// Chain is what Verify found of one chain.
type Chain struct {
	Key     string    `json:"key"`
	Trusted bool      `json:"trusted"` // it is one that was expected
	First   uint64    `json:"first"`   // number
	Last    uint64    `json:"last"`
	Records int       `json:"records"`
	From    time.Time `json:"from"` // when they were stored
	To      time.Time `json:"to"`
	Note    string    `json:"note,omitempty"`
	Break   *Break    `json:"break,omitempty"` // the first

	previous hash
}

// Break is where a chain is not what its keeper wrote.
type Break struct {
	Sequence uint64 `json:"sequence"` // in the stream: of the record that does not fit, or the last one
	Number   uint64 `json:"number"`
	What     string `json:"what"`
}

func (b Break) String() string {
	if b.Sequence == 0 {
		return b.What
	}
	return fmt.Sprintf("%s #%d: %s", Stream, b.Sequence, b.What)
}

// Proof is what Verify found.
type Proof struct {
	Chains []Chain `json:"chains"`
	Foul   []Break `json:"foul,omitempty"` // records that belong to no chain and look as if they did; 100 at most

	messages uint64 // in the stream, also other ones
}

// Sound reports whether nothing is wrong with what was found.
func (p Proof) Sound() bool {
	return len(p.Foul) == 0 && !slices.ContainsFunc(p.Chains, func(c Chain) bool { return c.Break != nil })
}

// New reports whether all that the stream holds is one bus's sound chain of records, from the first on: nobody else has put
// anything there yet.
func (p Proof) New() bool {
	return p.Sound() && len(p.Chains) == 1 && p.Chains[0].First == 1 && uint64(p.Chains[0].Records) == p.messages
}

// Verify reads every record and holds it against its chain. heads are ends of chains that are known to be genuine: where
// there are any, other chains are not trusted, and a chain that ends before its head has lost what came after.
func Verify(ctx context.Context, js jetstream.JetStream, heads []Head) (Proof, error) {
	var p Proof
	stream, err := js.Stream(ctx, Stream)
	if err != nil {
		return p, fmt.Errorf("stream %s: %w", Stream, err)
	}
	state := stream.CachedInfo().State
	p.messages = state.Msgs
	for m, err := range scan(ctx, stream, Subjects(), state.FirstSeq, state.LastSeq) {
		if err != nil {
			return p, err
		}
		p.check(m, state.FirstSeq)
	}
	for _, h := range heads {
		p.end(h, state)
	}
	for i := range p.Chains {
		c := &p.Chains[i]
		c.Trusted = len(heads) == 0 || slices.ContainsFunc(heads, func(h Head) bool { return h.Key == c.Key })
		if !c.Trusted && c.Break == nil {
			c.Break = &Break{What: "it is signed with another key than this bus's"}
		}
	}
	return p, nil
}

const mostFoul = 100

func (p *Proof) check(m *jetstream.RawStreamMsg, first uint64) {
	l, chained, err := readLink(m.Subject, m.Header, m.Data)
	if !chained {
		if e, err := event.Decode(m.Data); err == nil && e.Source == Source {
			p.foul(Break{Sequence: m.Sequence, What: fmt.Sprintf("%s has the bus as its source and is not signed by it", m.Subject)})
		}
		return
	}
	i := slices.IndexFunc(p.Chains, func(c Chain) bool { return c.Key == l.key })
	if err != nil {
		b := Break{Sequence: m.Sequence, Number: l.number, What: fmt.Sprintf("record %d was altered, or is not the bus's: %v", l.number, err)}
		if i >= 0 && p.Chains[i].Break == nil {
			p.Chains[i].Break = &b
		} else {
			p.foul(b)
		}
		return
	}
	if i < 0 {
		p.Chains = append(p.Chains, Chain{Key: l.key, First: l.number, From: m.Time})
		i = len(p.Chains) - 1
		if l.number > 1 && first <= 1 && m.Sequence <= first {
			p.Chains[i].Break = &Break{m.Sequence, l.number, fmt.Sprintf("records 1 to %d are missing, and nothing has expired: the stream was made anew", l.number-1)}
		} else if l.number > 1 {
			p.Chains[i].Note = fmt.Sprintf("records 1 to %d are no longer there: they expired, or a restore replaced them", l.number-1)
		}
	} else if c := &p.Chains[i]; c.Break == nil {
		switch {
		case l.number == c.Last && l.hash == c.previous:
			c.Break = &Break{m.Sequence, l.number, fmt.Sprintf("record %d is there twice", l.number)}
		case l.number <= c.Last:
			c.Break = &Break{m.Sequence, l.number, fmt.Sprintf("record %d stands behind record %d: they were put in another order", l.number, c.Last)}
		case l.number == c.Last+2:
			c.Break = &Break{m.Sequence, l.number, fmt.Sprintf("record %d is missing", c.Last+1)}
		case l.number > c.Last+1:
			c.Break = &Break{m.Sequence, l.number, fmt.Sprintf("records %d to %d are missing", c.Last+1, l.number-1)}
		case l.previous != c.previous:
			c.Break = &Break{m.Sequence, l.number, fmt.Sprintf("record %d does not follow record %d: one of them was replaced", l.number, c.Last)}
		}
	}
	c := &p.Chains[i]
	c.Records++
	c.Last, c.To, c.previous = max(c.Last, l.number), m.Time, l.hash
}

func (p *Proof) foul(b Break) {
	if len(p.Foul) < mostFoul {
		p.Foul = append(p.Foul, b)
	}
}

// end holds a chain against where its keeper left it.
func (p *Proof) end(h Head, state jetstream.StreamState) {
	last := state.LastSeq
	i := slices.IndexFunc(p.Chains, func(c Chain) bool { return c.Key == h.Key })
	if i < 0 {
		if h.Number > 0 && (h.Sequence >= state.FirstSeq || last == 0) { // otherwise all have expired
			p.Chains = append(p.Chains, Chain{Key: h.Key, Break: &Break{last, h.Number, fmt.Sprintf("records up to %d were stored, and there is none", h.Number)}})
		}
		return
	}
	if c := &p.Chains[i]; c.Break == nil && c.Last < h.Number {
		c.Break = &Break{last, h.Number, fmt.Sprintf("the last one is record %d, and records up to %d were stored", c.Last, h.Number)}
	}
}
