// Package deadletter keeps what consumers gave up on.
//
// A message that a consumer got max_deliver times and never acknowledged, or that it terminated, is delivered no more.
// JetStream says so once, in an advisory without the message. Stream AUDIT captures these advisories, so that nobody has
// to be listening; a [Collector] works them off and stores the message itself, whole, as a letter in stream
// DEADLETTERS, from where [Letters] shows it, sends it once more to where it came from, or dismisses it. What happens to
// a letter is recorded in AUDIT as an event without the payload: what must not lie for half a year where nobody can
// delete it is only in DEADLETTERS, and there can be erased.
package deadletter

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// Stream holds the letters: the payload as it was, the subject deadletters.<STREAM>.<CONSUMER>.<SEQUENCE>. It is made
	// when the first one comes, if it was not declared.
	Stream = "DEADLETTERS"
	// Audit is the stream that captures the advisories, and keeps what happened to each letter.
	Audit = "AUDIT"
	// Durable is the consumer of Audit that works the advisories off.
	Durable = "deltran-bus-dead-letters"
	// Owner is the key in the metadata of what was made here and nobody declared.
	Owner = "deltran_bus_owner"

	prefix  = "deadletters"
	subject = prefix + ".>"
)

// ID names a letter: which consumer gave up on which message of which stream.
type ID struct {
	Stream   string
	Consumer string
	Sequence uint64 // in Stream
}

// String is STREAM/CONSUMER/SEQUENCE.
func (id ID) String() string { return fmt.Sprintf("%s/%s/%d", id.Stream, id.Consumer, id.Sequence) }

func (id ID) subject() string {
	return fmt.Sprintf("%s.%s.%s.%d", prefix, id.Stream, id.Consumer, id.Sequence)
}

// ParseID is the way back from ID.String.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 3 && isName(parts[0]) && isName(parts[1]) {
		if seq, err := strconv.ParseUint(parts[2], 10, 64); err == nil {
			return ID{parts[0], parts[1], seq}, nil
		}
	}
	return ID{}, fmt.Errorf("%q is not a letter; write STREAM/CONSUMER/SEQUENCE, or its number in %s", s, Stream)
}

// isName reports whether a stream or consumer can have the name.
func isName(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n\f.*>/\\") }

// Cause is why a message is delivered no more.
type Cause string

// The causes.
const (
	MaxDeliver Cause = "max_deliver" // delivered so many times, and never acknowledged
	Terminated Cause = "terminated"  // by the consumer; or the message was removed while it waited for an acknowledgement
)

// Letter is a message that a consumer gave up on.
type Letter struct {
	ID
	Number     uint64      // its sequence in DEADLETTERS
	Stored     time.Time   // there
	Cause      Cause       //
	Reason     string      // given by who terminated it; may be empty
	Deliveries uint64      // how often it was delivered
	GivenUp    time.Time   // when JetStream said so
	Subject    string      // of the message; empty if it was gone
	Time       time.Time   // when the message was stored; zero if it was gone
	Header     nats.Header // of the message
	Data       []byte      // of the message, as it was
	Missing    string      // why there is no message here; empty if there is
}
