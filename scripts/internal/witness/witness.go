// Package witness publishes to a server and consumes from it, writes down what the server acknowledged, and looks after a
// crash whether that is there.
package witness

import (
	"cmp"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Stream is one that messages are published to.
type Stream struct {
	Config   jetstream.StreamConfig
	Declared bool   // the server has it without being asked
	Subject  string // published to
	Min, Max int    // bytes of a message
	Writers  int    // publishers, each with a connection of its own; 0 is 1
	Window   int    // messages under way at a time, for each
	Batch    int    // so many to an atomic batch, instead of one by one
	MsgID    bool   // with a Nats-Msg-Id, and one writer: what was not acknowledged before a crash is published again after it
	Keep     int    // the stream discards all but so many messages; 0: none
	Consume  bool   // a durable consumer reads it and acknowledges most
}

func (s Stream) work() bool { return s.Config.Retention == jetstream.WorkQueuePolicy }

// Consumer is the name of the durable consumers.
const Consumer = "witness"

// A Witness knows what was acknowledged. Its streams are there only when Create says so.
type Witness struct {
	Login []nats.Option // how it comes in, beside the URL

	now      func() int
	patience int // how often a consumer may have nothing to give before that counts as skipped, a second each

	mu      sync.Mutex
	streams []*record
	sent    uint64 // messages so far
}

// record is what is known of one stream.
type record struct {
	Stream
	created   int                // when, or never
	consuming int                // since when the consumer is there, or never
	acks      map[uint64]promise // by sequence
	done      map[uint64]int     // numbers of messages of which the consumer's acknowledgement was sent, and when
	open      []message          // sent and not acknowledged, in their order, where they can be published again
	checked   uint64             // up to this sequence a check has seen them all, and nothing was missing
}

const never = 1 << 62

// Now is a time after everything so far.
const Now = never - 1

// A promise is an acknowledgement, and when it arrived.
type promise struct {
	message
	at int
}

// New returns a Witness for the streams. Now is the time that is noted with an acknowledgement, such as the length of a
// file system's record; nil is always 0.
func New(streams []Stream, now func() int) *Witness {
	if now == nil {
		now = func() int { return 0 }
	}
	w := &Witness{now: now, patience: 10}
	for _, s := range streams {
		w.streams = append(w.streams, &record{Stream: s, created: never, consuming: never, acks: map[uint64]promise{}, done: map[uint64]int{}})
	}
	return w
}

// Acknowledged is the number of messages acknowledged until then.
func (w *Witness) Acknowledged(until int) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.streams {
		for _, p := range r.acks {
			if p.at <= until {
				n++
			}
		}
	}
	return n
}

// Moments are the times at which something was acknowledged, each once.
func (w *Witness) Moments() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var times []int
	for _, r := range w.streams {
		for _, p := range r.acks {
			times = append(times, p.at)
		}
	}
	slices.Sort(times)
	return slices.Compact(times)
}

// Rewind forgets what was acknowledged later than that, and counts the rest as before everything that comes: the store
// goes on from a cut. Now is the new time.
func (w *Witness) Rewind(until int, now func() int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
	for _, r := range w.streams {
		r.checked = 0
		if r.created = cut(r.created, until); r.created == never {
			r.consuming = never
		}
		r.consuming = cut(r.consuming, until)
		for seq, p := range r.acks {
			if p.at <= until {
				p.at = 0
				r.acks[seq] = p
				continue
			}
			delete(r.acks, seq)
			if r.MsgID && p.sent <= until {
				r.open = append(r.open, p.message)
			}
		}
		for number, at := range r.done {
			if at > until {
				delete(r.done, number)
				continue
			}
			r.done[number] = 0
		}
		r.open = slices.DeleteFunc(r.open, func(m message) bool { return m.sent > until })
		for i := range r.open {
			r.open[i].sent = 0
		}
		slices.SortFunc(r.open, func(a, b message) int { return cmp.Compare(a.number, b.number) })
	}
}

func cut(at, until int) int {
	if at > until {
		return never
	}
	return 0
}
