package event

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// InvalidError says everything that is wrong with an event.
type InvalidError struct{ Problems []Problem }

// Problem is one thing that is wrong. Field is the member's name in JSON, such as "metadata.user_id", and empty when it
// is about the whole.
type Problem struct{ Field, Message string }

func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return "not a valid event: " + strings.Join(lines, "; ")
}

func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + " " + p.Message
}

type problems []Problem

// add leaves out what follows from a problem that is known.
func (p *problems) add(field, format string, args ...any) {
	for _, known := range *p {
		if known.Field == field {
			return
		}
	}
	*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
}

// Validate reports what is wrong with the event as an *InvalidError: a member that is missing or does not have its form.
// Decode and Encode do it by themselves.
func (e *Event) Validate() error {
	var p problems
	if len(e.Data) > 0 {
		isObject(e.Data, "data", &p)
	}
	_, zone := e.Timestamp.Zone()
	const minute, day = 60, 24 * 60 * 60
	if year := e.Timestamp.Year(); !e.Timestamp.IsZero() && (year < 1970 || year > 9999 || zone%minute != 0 || zone <= -day || zone >= day) {
		p.add("timestamp", "%s is not from 1970 to 9999, or its zone is not one of whole minutes", e.Timestamp.Format(time.RFC3339Nano))
	}
	if e.validate(&p); len(p) > 0 {
		return &InvalidError{p}
	}
	return nil
}

const longest = 200 // characters of a type or source

// validate looks at what decode has not looked at yet.
func (e *Event) validate(p *problems) {
	switch {
	case e.ID == "":
		p.add("event_id", "is missing")
	case !isUUID(e.ID):
		p.add("event_id", "%s is not a UUID such as 0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99", excerpt(e.ID))
	}
	switch {
	case e.Type == "":
		p.add("event_type", "is missing")
	case !isType(e.Type) || len(e.Type) > longest:
		p.add("event_type", "%s is not of the form <entity>.<action>, in letters, digits, - and _, %d at most", excerpt(e.Type), longest)
	}
	if e.Timestamp.IsZero() {
		p.add("timestamp", "is missing")
	}
	switch {
	case e.Source == "":
		p.add("source", "is missing")
	case strings.ContainsFunc(e.Source, isControl) || !utf8.ValidString(e.Source) || utf8.RuneCountInString(e.Source) > longest:
		p.add("source", "%s has control characters, or more than %d", excerpt(e.Source), longest)
	}
	switch {
	case e.Version == "":
		p.add("version", "is missing")
	case !isVersion(e.Version):
		p.add("version", `%s is not a version such as "1.0"`, excerpt(e.Version))
	}
	if len(e.Data) == 0 {
		p.add("data", "is missing")
	}
	e.Metadata.validate(p)
}

func (m *Metadata) validate(p *problems) {
	for _, id := range []struct{ name, value string }{{"metadata.correlation_id", m.CorrelationID}, {"metadata.user_id", m.UserID}} {
		if id.value != "" && !isUUID(id.value) {
			p.add(id.name, "%s is not a UUID", excerpt(id.value))
		}
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isType is two tokens or more.
func isType(s string) bool {
	n := 0
	for t := range strings.SplitSeq(s, ".") {
		if !isToken(t) {
			return false
		}
		n++
	}
	return n > 1
}

func isVersion(s string) bool {
	for n := range strings.SplitSeq(s, ".") {
		if n == "" || strings.Trim(n, "0123456789") != "" {
			return false
		}
	}
	return len(s) <= 20
}

// isTimestamp looks at what package time is lenient about, or can say and RFC 3339 cannot: years, and seconds of a zone;
// and at the length of fractions, because it would drop what is smaller than a nanosecond. A year before 1970 is a
// clock that was not set.
func isTimestamp(s string) bool {
	const shortest, longest = len("2006-01-02T15:04:05Z"), len("2006-01-02T15:04:05.999999999+07:00")
	if len(s) < shortest || len(s) > longest || s[4] != '-' || s[10] != 'T' || s[:4] < "1970" || s[:4] > "9999" {
		return false
	}
	rest := strings.TrimLeft(s[19:], ".0123456789")
	fraction := len(s) - 19 - len(rest)
	return fraction <= 10 && (rest == "Z" || len(rest) == len("+07:00") && rest[1:3] < "24")
}
