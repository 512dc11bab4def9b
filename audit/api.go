package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	apiAdvisory      = "$JS.EVENT.ADVISORY.API"
	snapshotAdvisory = "$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE."
	restoreAdvisory  = "$JS.EVENT.ADVISORY.STREAM.RESTORE_COMPLETE."
	api              = "$JS.API."
)

// advisory is what of nats-server's advisories is of use here.
type advisory struct {
	Time   time.Time `json:"timestamp"`
	Client struct {
		Account string `json:"acc"`
		User    string `json:"user"`
		Name    string `json:"name"`
		Host    string `json:"host"`
		ID      uint64 `json:"id"`
	} `json:"client"`

	Subject  string `json:"subject"` // of an API advisory, with request and response
	Request  string `json:"request"`
	Response string `json:"response"`

	Stream string    `json:"stream"` // of a snapshot or a restore
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Bytes  int64     `json:"bytes"`
	Error  string    `json:"error"`
}

func (a advisory) who() Who {
	c := a.Client
	return Who{Account: c.Account, User: c.User, Name: c.Name, Address: c.Host, ID: c.ID}.short()
}

// reading are the requests that change nothing. A snapshot is recorded when it is complete.
var reading = []string{"INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO", "STREAM.MSG.GET", "STREAM.SNAPSHOT",
	"CONSUMER.NAMES", "CONSUMER.LIST", "CONSUMER.INFO", "CONSUMER.MSG.NEXT", "DIRECT.GET"}

func reads(request string) bool {
	return slices.ContainsFunc(reading, func(r string) bool { return request == r || strings.HasPrefix(request, r+".") })
}

// idle reports whether an API advisory is about a request that changes nothing, without decoding it: it may hold a whole
// message. Within a JSON string every quote has a backslash before it, so that nobody can make this up.
func idle(data []byte) bool {
	_, rest, ok := bytes.Cut(data, []byte(`"subject":"`+api))
	if !ok {
		return false
	}
	request, _, _ := bytes.Cut(rest, []byte(`"`))
	return reads(string(request))
}

// settings are a stream's or a consumer's, by their names in the API.
type settings map[string]json.RawMessage

// A change is one setting of a stream or a consumer.
type change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from,omitempty"`
	To    json.RawMessage `json:"to,omitempty"`
}

// changed are the fields in which two differ.
func changed(from, to settings) (out []change) {
	all := maps.Clone(from)
	maps.Copy(all, to)
	for _, f := range slices.Sorted(maps.Keys(all)) {
		if f != "metadata" && !bytes.Equal(from[f], to[f]) {
			out = append(out, change{f, brief(from[f]), brief(to[f])})
		}
	}
	return out
}

func brief(v json.RawMessage) json.RawMessage {
	if len(v) <= 2*longest {
		return v
	}
	return json.RawMessage(`"(too long to be recorded)"`)
}

// layout is what there is, as far as it was seen: by stream, and by STREAM/CONSUMER of those that are durable.
type layout struct {
	known map[string]settings
	as    time.Time // what is older may be in known already
}

// did is what a record says of a request.
type did struct {
	By       Who       `json:"by"`
	Stream   string    `json:"stream,omitempty"`
	Consumer string    `json:"consumer,omitempty"`
	Sequence uint64    `json:"sequence,omitempty"` // of a message
	Purged   *uint64   `json:"purged,omitempty"`   // how many messages
	Subject  string    `json:"subject,omitempty"`  // those that were purged
	UpTo     uint64    `json:"up_to,omitempty"`    // messages before that sequence
	Keep     uint64    `json:"keep,omitempty"`     // the last ones that were kept
	Changed  []change  `json:"changed,omitempty"`
	Settings settings  `json:"settings,omitempty"` // of what was made
	Request  string    `json:"request,omitempty"`  // of what is not known here: its subject
	Error    string    `json:"error,omitempty"`
	Began    time.Time `json:"began,omitzero"`
	Bytes    int64     `json:"bytes,omitempty"`
}

type response struct {
	Error *struct {
		Code        int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
	Created time.Time `json:"created"`
	Config  settings  `json:"config"`
	Purged  *uint64   `json:"purged"`
}

// read says what an API advisory is about: the entity and what was done; an empty entity for what is not recorded. What
// JetStream refused is a refusal.
func (l *layout) read(a advisory) (entity, action string, d did, refused string) {
	words := strings.TrimPrefix(a.Subject, api)
	tokens := strings.Split(words, ".")
	at := func(i int) string {
		if i < len(tokens) {
			return short(tokens[i])
		}
		return ""
	}
	d.By = a.who()
	var r response
	_ = json.Unmarshal([]byte(a.Response), &r) // what cannot be read says nothing
	if r.Error != nil {
		if reads(words) {
			return "", "", d, ""
		}
		return JetStream, "refused", d, short(r.Error.Description)
	}
	if reads(words) {
		return "", "", d, ""
	}
	switch kind := strings.Join(tokens[:min(2, len(tokens))], "."); kind {
	case "STREAM.CREATE", "STREAM.UPDATE":
		d.Stream = at(2)
		return l.stream(kind == "STREAM.CREATE", a, r, d)
	case "STREAM.RESTORE": // it is recorded when it is complete
		return "", "", d, ""
	case "STREAM.DELETE":
		d.Stream = at(2)
		maps.DeleteFunc(l.known, func(name string, _ settings) bool {
			return name == d.Stream || strings.HasPrefix(name, d.Stream+"/")
		})
		return Streams, "deleted", d, ""
	case "STREAM.PURGE":
		var asked struct {
			Filter string `json:"filter"`
			Seq    uint64 `json:"seq"`
			Keep   uint64 `json:"keep"`
		}
		_ = json.Unmarshal([]byte(a.Request), &asked)
		d.Stream, d.Purged, d.Subject, d.UpTo, d.Keep = at(2), r.Purged, short(asked.Filter), asked.Seq, asked.Keep
		return Streams, "purged", d, ""
	case "STREAM.MSG":
		if at(2) == "DELETE" {
			var asked struct {
				Seq uint64 `json:"seq"`
			}
			_ = json.Unmarshal([]byte(a.Request), &asked)
			d.Stream, d.Sequence = at(3), asked.Seq
			return Message, "deleted", d, ""
		}
	case "CONSUMER.CREATE", "CONSUMER.DURABLE":
		d.Stream = at(2)
		if kind == "CONSUMER.DURABLE" {
			d.Stream = at(3)
		}
		return l.consumer(a, r, d)
	case "CONSUMER.DELETE":
		d.Stream, d.Consumer = at(2), at(3)
		name := d.Stream + "/" + d.Consumer
		_, durable := l.known[name]
		delete(l.known, name)
		if !durable && a.Time.After(l.as) { // one that was not meant to stay
			return "", "", d, ""
		}
		return Consumer, "deleted", d, ""
	}
	d.Request = short(words)
	return JetStream, "requested", d, ""
}

func (l *layout) stream(create bool, a advisory, r response, d did) (string, string, did, string) {
	before, known := l.known[d.Stream]
	if create {
		// The same again is no error. What is said of it may come after what is said of a later change: it says nothing new.
		if known && a.Time.After(l.as) || a.Time.Sub(r.Created) > time.Second {
			return "", "", d, ""
		}
		l.known[d.Stream] = r.Config
		d.Settings = told(r.Config)
		return Streams, "created", d, ""
	}
	l.known[d.Stream] = r.Config
	if known && a.Time.After(l.as) {
		if d.Changed = changed(before, r.Config); len(d.Changed) == 0 {
			return "", "", d, ""
		}
	}
	return Streams, "changed", d, ""
}

func (l *layout) consumer(a advisory, r response, d did) (string, string, did, string) {
	var durable string
	_ = json.Unmarshal(r.Config["durable_name"], &durable)
	if durable == "" {
		return "", "", d, ""
	}
	d.Consumer = short(durable)
	name := d.Stream + "/" + durable
	before, known := l.known[name]
	l.known[name] = r.Config
	switch made := a.Time.Sub(r.Created) < time.Second; {
	case known && a.Time.After(l.as):
		if d.Changed = changed(before, r.Config); len(d.Changed) == 0 {
			return "", "", d, ""
		}
		return Consumer, "changed", d, ""
	case made:
		d.Settings = told(r.Config)
		return Consumer, "created", d, ""
	case d.By.Address == "": // the bus itself, which makes sure of its own while it starts
		return "", "", d, ""
	}
	return Consumer, "changed", d, ""
}

// told are the settings that a record tells of something new.
func told(s settings) settings {
	out := settings{}
	for k, v := range s {
		switch string(v) {
		case `0`, `-1`, `false`, `""`, `null`, `{}`, `[]`:
		default:
			if k != "metadata" && k != "name" && k != "durable_name" && k != "description" {
				out[k] = brief(v)
			}
		}
	}
	return out
}
