// Package audit keeps what happens to the bus itself, in stream AUDIT, as events of source deltran-bus.
//
// A [Recorder] hears what nats-server tells of JetStream's API, of backups and of refused clients, and what the bus says of
// itself, and stores it as events.audit.<entity>.<action>: who, from where, what, and never a payload or a secret. The
// records of one bus form a chain: each carries its number, the hash of the one before and a signature, so that [Verify]
// finds what was altered, removed or put between. [Read] is how one looks at them.
//
// Recording never makes the bus wait: what cannot be stored waits in a queue of bounded length, what does not fit there is
// counted, and the count is recorded.
package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/event"
)

const (
	// Stream is where the records are.
	Stream = "AUDIT"
	// Source is the source of every record.
	Source = "deltran-bus"

	prefix = "events.audit."
)

// The entities that a recorder writes about: the token after events.audit.
const (
	Bus        = "bus"        // started, stopping, reloaded, reload-refused
	Client     = "client"     // rejected
	Permission = "permission" // denied
	Streams    = "stream"     // created, changed, deleted, purged, backed-up, restored
	Consumer   = "consumer"   // of those that are durable: created, changed, deleted
	Message    = "message"    // deleted
	JetStream  = "jetstream"  // requested: what changes something else; refused: what JetStream did not do
	Self       = "audit"      // incomplete: what could not be recorded
)

var entities = []string{Self, Bus, Client, Consumer, JetStream, Message, Permission, Streams}

// Subjects are those of the records of a chain.
func Subjects() []string {
	out := make([]string, len(entities))
	for i, e := range entities {
		out[i] = prefix + e + ".*"
	}
	return out
}

// Captured reports whether a stream with these subjects stores every record.
func Captured(subjects []string) bool {
	for _, s := range Subjects() {
		if !slices.ContainsFunc(subjects, func(p string) bool { return event.Covers(p, s) }) {
			return false
		}
	}
	return true
}

// Who is the client that something is about.
type Who struct {
	Account string `json:"account,omitempty"` // of a service without a role: its name
	User    string `json:"user,omitempty"`    // as it logged in: a name, a public key or a certificate's subject
	Name    string `json:"name,omitempty"`    // what the client calls itself
	Address string `json:"address,omitempty"` // empty for the bus itself
	ID      uint64 `json:"id,omitempty"`      // of the connection
}

// Refusal is what nats-server did not let a client do.
type Refusal struct {
	Entity  string // Client or Permission
	Who     Who
	Reason  string // why a client was rejected
	Action  string // publish, subscribe or reply
	Subject string // that was denied
}

// Status is how a Recorder stands.
type Status struct {
	Stored  uint64 `json:"stored"`            // records since it started
	Waiting int    `json:"waiting"`           // records that are not stored yet
	Missed  uint64 `json:"missed"`            // what could not be recorded
	Failing string `json:"failing,omitempty"` // what keeps records from being stored
}

// repeated is how often something happened, in records that stand for more than one.
type repeated struct {
	Count int       `json:"count"`
	Since time.Time `json:"since,omitzero"` // the first of them, where there are more
}

const longest = 200 // characters of what somebody else chose

// short keeps what a client chose from filling the stream.
func short(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

func (w Who) short() Who {
	w.Account, w.User, w.Name, w.Address = short(w.Account), short(w.User), short(w.Name), short(w.Address)
	return w
}
