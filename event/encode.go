package event

import "time"

// Encode is the event as JSON. It refuses one that is not valid: an *InvalidError.
func (e *Event) Encode() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.append(make([]byte, 0, 320+len(e.Source)+len(e.Data)+len(e.Metadata.raw)+len(e.extra))), nil
}

// MarshalJSON is Encode; note that json.Marshal then takes the white space out of data and metadata.
func (e Event) MarshalJSON() ([]byte, error) { return e.Encode() }

func (e *Event) append(b []byte) []byte {
	b = append(b, `{"event_id":"`...)
	b = append(b, e.ID...)
	b = append(b, `","event_type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","timestamp":"`...)
	b = e.Timestamp.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","source":`...)
	b = appendString(b, e.Source)
	b = append(b, `,"version":"`...)
	b = append(b, e.Version...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	b = append(b, `,"metadata":`...)
	b = e.Metadata.append(b)
	b = append(b, e.extra...)
	return append(b, '}')
}

func (m *Metadata) append(b []byte) []byte {
	var was Metadata
	if m.raw != nil {
		was.decode(m.raw, new(problems))
		if was.CorrelationID == m.CorrelationID && was.UserID == m.UserID {
			return append(b, m.raw...)
		}
	}
	b = append(b, '{')
	n := len(b)
	member := func(whole ...string) {
		if len(b) > n {
			b = append(b, ',')
		}
		for _, s := range whole {
			b = append(b, s...)
		}
	}
	if m.CorrelationID != "" {
		member(`"correlation_id":"`, m.CorrelationID, `"`)
	}
	if m.UserID != "" {
		member(`"user_id":"`, m.UserID, `"`)
	}
	if m.raw != nil {
		members(m.raw, metadataNames, func(which int, _, whole []byte) {
			if which < 0 {
				member(string(whole))
			}
		})
	}
	return append(b, '}')
}
