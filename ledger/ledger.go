// Package ledger is what is known to be durable: a few small files of our own beside the store, written with an fsync every
// second while something changes, when something is deliberately removed, and at a clean stop. At the next start it says
// what has to be there, before anyone is let in. It knows files and numbers, neither NATS nor its file format.
//
//	BOOK/page.a, page.b     the last two pages: of each stream, what it holds
//	BOOK/stop.a, stop.b     the manifest of the last clean stop: every file of the store
//	BOOK/keep.a, keep.b     copies of the files that nothing else could restore: metadata and consumer state
//	BOOK/accept             a loss that somebody has accepted, until it is used up
//
// Of each pair one file is the older: writing tears at most the other.
package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// Dir is the ledger's folder in the store folder.
const Dir = "deltran-bus.ledger"

// A Page is what was durable when it was written. Nothing in it is a guess: a store that holds less has lost something,
// or was told to remove it.
type Page struct {
	Written time.Time `json:"written"`
	Server  string    `json:"server"`         // nats-server's version
	Boot    string    `json:"boot,omitempty"` // which start of the machine it was written in, where the system tells
	Clean   bool      `json:"clean"`          // written at a clean stop; the store has not been opened since
	Durable bool      `json:"durable"`        // what it says was on the disk when it was written
	Streams []Stream  `json:"streams"`
}

// Stream is what one file stream of the bus's account held.
type Stream struct {
	Name      string        `json:"name"`
	Created   time.Time     `json:"created"`
	First     uint64        `json:"first"`   // sequence of the first message; Last+1 where there is none
	Last      uint64        `json:"last"`    // last sequence ever given
	Deleted   uint64        `json:"deleted"` // sequences between First and Last that hold no message
	FirstTime time.Time     `json:"first_time,omitzero"`
	LastTime  time.Time     `json:"last_time,omitzero"`
	MaxAge    time.Duration `json:"max_age,omitempty"`
	Loose     bool          `json:"loose,omitempty"`    // its own rules take messages out: limits, TTL, rollups, acks, a mirror
	Removing  bool          `json:"removing,omitempty"` // somebody asked for messages to be removed, or changed its rules, since the page before
	Going     bool          `json:"going,omitempty"`    // somebody asked for its deletion
	Marks     []Mark        `json:"marks,omitempty"`    // when some of its messages came, the oldest first
}

// A Mark says when one message came; those behind it are not older.
type Mark struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
}

// Messages is how many messages the stream holds.
func (s Stream) Messages() uint64 {
	if s.Last < s.First {
		return 0
	}
	return s.Last - s.First + 1 - s.Deleted
}

// marksPerAge is how many marks cover max_age: what is found missing at the front may be younger than max_age by so
// large a part of it without being noticed.
const marksPerAge = 32

// Mark remembers when its last message came, where that helps to tell expiry from loss, and forgets what is gone.
func (s *Stream) Mark(before []Mark) {
	if s.MaxAge <= 0 || s.Loose || s.Messages() == 0 {
		s.Marks = nil
		return
	}
	s.Marks = slices.Clone(before)
	s.Marks = slices.DeleteFunc(s.Marks, func(m Mark) bool { return m.Seq < s.First || m.Seq > s.Last })
	if n := len(s.Marks); n == 0 || s.LastTime.Sub(s.Marks[n-1].Time) >= s.MaxAge/marksPerAge {
		s.Marks = append(s.Marks, Mark{s.Last, s.LastTime})
	}
}

// notBefore is a time at or before which the message with that sequence did not come.
func (s Stream) notBefore(seq uint64) time.Time {
	t := s.FirstTime
	for _, m := range append(slices.Clone(s.Marks), Mark{s.Last, s.LastTime}) {
		if m.Seq <= seq && m.Time.After(t) {
			t = m.Time
		}
	}
	return t
}

// ID names a page: what is accepted is accepted for this one alone. Opening the store again does not make it another.
func (p Page) ID() string {
	p.Clean = false
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // times, numbers and strings
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

// Stream finds one by its name.
func (p Page) Stream(name string) (Stream, bool) {
	i := slices.IndexFunc(p.Streams, func(s Stream) bool { return s.Name == name })
	if i < 0 {
		return Stream{}, false
	}
	return p.Streams[i], true
}

// Newest is the newest time that the page knows: the clock was there.
func (p Page) Newest() time.Time {
	t := p.Written
	for _, s := range p.Streams {
		if s.LastTime.After(t) {
			t = s.LastTime
		}
	}
	return t
}
