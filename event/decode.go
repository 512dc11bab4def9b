package event

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Decode reads an event. What is not a valid one is an *InvalidError that says everything that is wrong with it. Data
// and metadata of the event are parts of b, so b must not be changed afterwards.
func Decode(b []byte) (Event, error) {
	var e Event
	var p problems
	if e.decode(b, &p) {
		e.validate(&p)
	}
	if len(p) > 0 {
		return Event{}, &InvalidError{p}
	}
	return e, nil
}

// UnmarshalJSON is Decode on a copy of b.
func (e *Event) UnmarshalJSON(b []byte) (err error) {
	*e, err = Decode(bytes.Clone(b))
	return err
}

var (
	names         = []string{"event_id", "event_type", "timestamp", "source", "version", "data", "metadata"}
	metadataNames = []string{"correlation_id", "user_id"}
)

// decode fills in what is there and of the right type; it returns false if b has no members at all.
func (e *Event) decode(b []byte, p *problems) bool {
	if !isObject(b, "", p) {
		return false
	}
	texts := [...]*string{&e.ID, &e.Type, nil, &e.Source, &e.Version}
	twice, is := members(b, names, func(which int, value, whole []byte) {
		switch which {
		case -1:
			e.extra = append(append(e.extra, ','), whole...)
		case 2:
			var s string
			if !text(names[which], value, &s, p) {
				break
			}
			if err := e.Timestamp.UnmarshalText([]byte(s)); err != nil || !isTimestamp(s) {
				p.add("timestamp", "%s is not a time such as 2025-11-06T12:00:00.25Z: RFC 3339 with its zone, from 1970 to 9999, T and Z in capitals, at most 9 digits of a fraction, no leap second", excerpt(s))
			}
		case 5:
			if e.Data = value; value[0] != '{' {
				p.add("data", "is %s, not an object", kindOf(value))
			}
		case 6:
			if value[0] == '{' {
				e.Metadata.decode(value, p)
			} else {
				p.add("metadata", "is %s, not an object", kindOf(value))
			}
		default:
			text(names[which], value, texts[which], p)
		}
	})
	if is {
		p.add(twice, "is there twice")
	}
	return true
}

// decode takes over an object, and reads what is known of it.
func (m *Metadata) decode(object []byte, p *problems) {
	m.raw = object
	texts := [...]*string{&m.CorrelationID, &m.UserID}
	twice, is := members(object, metadataNames, func(which int, value, _ []byte) {
		if which < 0 {
			return
		}
		name := "metadata." + metadataNames[which]
		if text(name, value, texts[which], p) && *texts[which] == "" {
			p.add(name, "is empty; leave it out")
		}
	})
	if is {
		p.add("metadata."+twice, "is there twice")
	}
}

// text reads a string.
func text(name string, value []byte, to *string, p *problems) bool {
	if value[0] != '"' {
		p.add(name, "is %s, not a string", kindOf(value))
		return false
	}
	*to = string(unquote(value))
	return true
}

// isObject reports whether b is an object in valid JSON, and nothing else.
func isObject(b []byte, name string, p *problems) bool {
	switch {
	case !utf8.Valid(b):
		p.add(name, "is not UTF-8")
	case !json.Valid(b):
		p.add(name, "is not JSON: %v", json.Unmarshal(b, new(json.RawMessage)))
	case b[space(b, 0)] != '{':
		p.add(name, "is %s, not an object", kindOf(b[space(b, 0):]))
	default:
		return true
	}
	return false
}
