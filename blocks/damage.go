package blocks

import "fmt"

// Damage is one place that is not as it was written.
type Damage struct {
	File   string `json:"file"`   // from the stream's folder, with slashes
	Offset int64  `json:"offset"` // in the file; of a compressed block, of the chunk that the place is in
	Size   int64  `json:"size"`   // bytes that cannot be made sense of, as far as known
	What   What   `json:"what"`
	Part   Part   `json:"part"`
	Detail string `json:"detail,omitempty"`

	// The messages that are damaged or missing have sequences between these two, neither included; 0 as Before when
	// nothing follows. With nothing between them it was a record of something deleted.
	After  uint64 `json:"after,omitempty"`
	Before uint64 `json:"before,omitempty"`
	// Behind is how many readable messages stand behind the place in the same block: nats-server cuts them off when it
	// has to rebuild the block, as it does after a crash.
	Behind int `json:"behind,omitempty"`
}

// What is wrong.
type What string

const (
	Checksum    What = "checksum"    // the bytes are not those that were written
	Malformed   What = "malformed"   // a length or a count that cannot be
	Torn        What = "torn"        // the end of the last block is no whole record, as a crash leaves it: see Scan
	Hole        What = "hole"        // messages that the store's own index names are not there
	Boundary    What = "boundary"    // subject, headers and payload are not where one ends and the next begins
	Implausible What = "implausible" // readable, and cannot be true
	Gone        What = "gone"        // a file that has to be there is not
	Unreadable  What = "unreadable"  // the operating system could not read it
)

// Part is what of a stream the damage is in.
type Part string

const (
	Messages    Part = "messages"
	Description Part = "stream"   // meta.inf and its companions: without it nats-server does not open the stream
	Consumer    Part = "consumer" // one consumer's description or state
	Index       Part = "index"    // what nats-server rebuilds from the messages
	Staged      Part = "staged"   // atomic batches under way
)

func (d Damage) String() string {
	s := fmt.Sprintf("%s: %s at byte %d", d.File, d.What, d.Offset)
	if d.Detail != "" {
		s += ": " + d.Detail
	}
	switch {
	case d.Part != Messages || d.What == Boundary:
	case d.Before == 0:
		s += fmt.Sprintf(", messages from %d on", d.After+1)
	case d.Before == d.After+2:
		s += fmt.Sprintf(", message %d", d.After+1)
	case d.Before > d.After+2:
		s += fmt.Sprintf(", messages %d to %d", d.After+1, d.Before-1)
	}
	if d.Behind > 0 {
		s += fmt.Sprintf("; %d readable messages behind it", d.Behind)
	}
	return s
}
