package event

import (
	"fmt"
	"strings"
)

// Subject is where an event is published: events.<domain>.<action> or events.<domain>.<entity>.<action>, such as
// events.transactions.created or events.clearing.window.opened. The domain chooses the stream.
type Subject struct {
	Domain string
	Entity string // may be empty, and may be several tokens with dots between
	Action string
}

// ParseSubject is the way back from String. A subject with a wildcard is for subscribing, and refused.
func ParseSubject(subject string) (Subject, error) {
	tokens := strings.Split(subject, ".")
	n := len(tokens)
	if n < 3 || tokens[0] != "events" {
		return Subject{}, fmt.Errorf("subject %q: not of the form events.<domain>.<action> or events.<domain>.<entity>.<action>", subject)
	}
	for _, t := range tokens {
		if !isToken(t) {
			return Subject{}, fmt.Errorf("subject %q: %q is not a token of letters, digits, - and _", subject, t)
		}
	}
	return Subject{Domain: tokens[1], Entity: strings.Join(tokens[2:n-1], "."), Action: tokens[n-1]}, nil
}

func (s Subject) String() string {
	if s.Entity == "" {
		return "events." + s.Domain + "." + s.Action
	}
	return "events." + s.Domain + "." + s.Entity + "." + s.Action
}

// Type is the event type that belongs on the subject: <entity>.<action>, and where there is no entity the domain in the
// singular takes its place: transaction.created on events.transactions.created.
func (s Subject) Type() string {
	if s.Entity != "" {
		return s.Entity + "." + s.Action
	}
	entity := s.Domain
	if one, many := strings.CutSuffix(entity, "s"); many && len(one) > 1 && !strings.ContainsRune("siu", rune(one[len(one)-1])) {
		entity = one
	}
	return entity + "." + s.Action
}

// longestSubject is what is left of the line, 4,096 bytes if nothing else is declared, in which NATS wants subject, reply and
// sizes to be: for a longer one the server ends the connection.
const longestSubject = 3500

// CheckSubject refuses what JetStream would store under a name that nobody can subscribe to: wildcards, empty tokens, white
// space. And what is too long for NATS.
func CheckSubject(subject string) error {
	if len(subject) > longestSubject {
		return fmt.Errorf("a subject of %d bytes is too long to publish to, %d is the most", len(subject), longestSubject)
	}
	for t := range strings.SplitSeq(subject, ".") {
		if t == "" || t == "*" || t == ">" || strings.ContainsAny(t, " \t\r\n") {
			return fmt.Errorf("%q cannot be a part of a subject to publish to", t)
		}
	}
	return nil
}

// isToken reports whether s can stand between two dots.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

// Covers reports whether every subject of one pattern, which may have the wildcards * and >, is one of another.
func Covers(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || s[i] == ">":
			return false
		case token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}
