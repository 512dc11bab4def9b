package ledger

import (
	"fmt"
	"time"
)

// A Finding is something wrong with the store, or with what may be believed of it.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Stream string `json:"stream,omitempty"`
	// Consumer, where it is a consumer's state.
	Consumer string `json:"consumer,omitempty"`
	File     string `json:"file,omitempty"`   // where, below the store folder
	Offset   int64  `json:"offset,omitempty"` // in bytes
	From     uint64 `json:"from,omitempty"`   // sequences concerned, both included
	To       uint64 `json:"to,omitempty"`
	Lost     uint64 `json:"lost,omitempty"` // messages, at most
	What     string `json:"what"`           // one sentence
	WayOut   string `json:"way_out,omitempty"`
	// Holds says that the bus lets nobody in until somebody has decided. What does not hold is a report.
	Holds bool      `json:"holds"`
	Found time.Time `json:"found"`
}

// Kind says what a Finding is about.
type Kind string

// The kinds of findings.
const (
	Gone   Kind = "gone"   // a stream is not there
	Tail   Kind = "tail"   // its newest messages are not there
	Front  Kind = "front"  // its oldest are not, and had not expired
	Middle Kind = "middle" // some in between are not
	Clock  Kind = "clock"  // the machine's clock cannot be right
	Ledger Kind = "ledger" // the ledger itself is damaged
	Damage Kind = "damage" // a file of the store is damaged
	Weak   Kind = "weak"   // a stream is less durable than promised
)

// Kinds are all of them.
var Kinds = []Kind{Gone, Tail, Front, Middle, Clock, Ledger, Damage, Weak}

func (f Finding) String() string {
	where := f.Stream
	if f.Consumer != "" {
		where += "/" + f.Consumer
	}
	if where != "" {
		where += ": "
	}
	return where + f.What
}

// span words a range of sequences.
func span(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("message %d", from)
	}
	return fmt.Sprintf("messages %d to %d", from, to)
}
