package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/event"
)

func TestNew(t *testing.T) {
	t.Parallel()
	before := time.Now().Truncate(time.Microsecond)
	e, err := event.New("transaction.created", "token-engine", map[string]any{"amount": json.Number("1000.00"), "name": "Süd & <Co>"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Timestamp.Before(before) || e.Timestamp.After(time.Now()) || e.Timestamp.Location() != time.UTC {
		t.Error(e.Timestamp)
	}
	e.ID, e.Timestamp = "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99", time.Date(2025, 11, 6, 12, 0, 0, 5e6, time.UTC)
	for _, step := range []struct {
		set  func()
		want string
	}{
		{func() {}, `"metadata":{}`},
		{func() { e.Metadata.UserID = "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE" }, `"metadata":{"user_id":"AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"}`},
		{func() { e.Metadata.CorrelationID = e.ID }, `"metadata":{"correlation_id":"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99","user_id":"AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"}`},
	} {
		step.set()
		want := `{"event_id":"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99","event_type":"transaction.created","timestamp":"2025-11-06T12:00:00.005Z",` +
			`"source":"token-engine","version":"1.0","data":{"amount":1000.00,"name":"Süd & <Co>"},` + step.want + `}`
		if b, err := e.Encode(); string(b) != want || err != nil {
			t.Errorf("%s %v\nwant\n%s", b, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, source string
		data         any
		want         string
	}{
		{"created", "x", nil, `not a valid event: event_type "created" is not of the form *`},
		{"a.b", "", nil, "not a valid event: source is missing"},
		{"a.b", "\xff", nil, `not a valid event: source "\xff" has control characters, or more than 200`},
		{"a.b", "x", 7, "not a valid event: data is a number, not an object"},
		{"a.b", "x", []byte("{"), "not a valid event: data is not JSON: unexpected end of JSON input"},
		{"a.b", "x", []byte(" "), "not a valid event: data is not JSON: unexpected end of JSON input"},
		{"a.b", "x", json.RawMessage("{} {}"), "not a valid event: data is not JSON: *"},
		{"a.b", "x", json.RawMessage("{\"a\":\"\xff\"}"), "not a valid event: data is not UTF-8"},
		{"a.b", "x", struct{ F float64 }{math.NaN()}, "event a.b: data: json: unsupported value: NaN"},
	} {
		if _, err := event.New(c.kind, c.source, c.data); err == nil || !matches(c.want, err.Error()) {
			t.Errorf("%v: %v, not %s", c, err, c.want)
		}
	}
}

// What somebody puts into the fields by hand is looked at as well.
func TestValidate(t *testing.T) {
	t.Parallel()
	amsterdam := time.FixedZone("AMT", 19*60+32)
	for want, set := range map[string]func(*event.Event){
		"":                     func(*event.Event) {},
		"timestamp is missing": func(e *event.Event) { e.Timestamp = time.Time{} },
		"timestamp 10000-* is not from 1970 to 9999*": func(e *event.Event) { e.Timestamp = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"timestamp 1969-* is not from 1970 to 9999*":  func(e *event.Event) { e.Timestamp = time.Unix(-1, 0).UTC() },
		"timestamp -* is not from 1970 to 9999*":      func(e *event.Event) { e.Timestamp = time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC) },
		"timestamp 2030* is not from 1970 to 9999*":   func(e *event.Event) { e.Timestamp = time.Date(2030, 1, 1, 0, 0, 0, 0, amsterdam) },
		"data is missing": func(e *event.Event) { e.Data = nil },
		"metadata.correlation_id \"x\" is not a UUID; metadata.user_id \"y\" is not a UUID": func(e *event.Event) {
			e.Metadata.CorrelationID, e.Metadata.UserID = "x", "y"
		},
	} {
		e, err := event.New("a.b", "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		set(&e)
		err = e.Validate()
		if said := ""; err != nil {
			said = strings.TrimPrefix(err.Error(), "not a valid event: ")
			if !matches(want, said) {
				t.Errorf("%q, not %q", said, want)
			}
		} else if want != "" {
			t.Errorf("nothing, not %q", want)
		}
		if _, encoding := e.Encode(); (encoding == nil) != (err == nil) {
			t.Errorf("Encode: %v", encoding)
		}
	}
}

// Nothing that was decoded is lost or rewritten: amounts, white space in data, members that nobody knows.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	const in = ` {"version": "1.1", "priority" : [1.50, "\u00fc"] , "metadata": {"trace":  "x<y", "user_id": "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"},
		"data": {"amount":  1000.00, "text": "\u003cb>" }, "source": "token-engine", "timestamp": "2025-11-06T13:00:00.250+01:00",
		"event_type": "transaction.created", "\u0065vent_id": "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99", "x":null}`
	e, err := event.Decode([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	const head = `{"event_id":"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99","event_type":"transaction.created","timestamp":"2025-11-06T13:00:00.25+01:00",` +
		`"source":"token-engine","version":"1.1","data":{"amount":  1000.00, "text": "\u003cb>" },"metadata":`
	const tail = `,"priority" : [1.50, "\u00fc"],"x":null}`
	check := func(metadata string) {
		t.Helper()
		if b, err := e.Encode(); string(b) != head+metadata+tail || err != nil {
			t.Errorf("%s %v\nwant\n%s", b, err, head+metadata+tail)
		}
	}
	check(`{"trace":  "x<y", "user_id": "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"}`)
	e.Metadata.CorrelationID = "11111111-2222-3333-4444-555555555555"
	check(`{"correlation_id":"11111111-2222-3333-4444-555555555555","user_id":"AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE","trace":  "x<y"}`)
	e.Metadata.CorrelationID, e.Metadata.UserID = "", ""
	check(`{"trace":  "x<y"}`)
	e.Metadata = event.Metadata{}
	check(`{}`)
}

// Events are fields of other structs, too. What encoding/json does to white space is its own affair.
func TestWithinJSON(t *testing.T) {
	t.Parallel()
	var list []event.Event
	if err := json.Unmarshal([]byte("["+good+","+with("version", `"2", "x": 1`)+"]"), &list); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(list)
	if err != nil || !bytes.Contains(b, []byte(`"amount":1000.00,`)) || !bytes.Contains(b, []byte(`,"x":1}]`)) {
		t.Errorf("%s %v", b, err)
	}
	var invalid *event.InvalidError
	if err := json.Unmarshal([]byte(`[{}]`), &list); !errors.As(err, &invalid) {
		t.Error(err)
	}
	if _, err := json.Marshal(event.Event{}); !errors.As(err, &invalid) {
		t.Error(err)
	}
}

// However many members there are, looking for one that is there twice takes no longer than reading them.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&b, `"%x":1,`, i)
	}
	in := with("data", `{}, `+strings.TrimSuffix(b.String(), ","))
	e, err := event.Decode([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := e.Encode(); err != nil || len(out) < b.Len() {
		t.Error(len(out), err)
	}
}

func TestNewID(t *testing.T) {
	t.Parallel()
	var ids []string
	for range 10_000 {
		ids = append(ids, event.NewID())
	}
	for i, id := range ids {
		e, _ := event.New("a.b", "x", nil)
		if e.ID = id; e.Validate() != nil || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatal(id)
		}
		if i > 0 && id[:13] < ids[i-1][:13] {
			t.Fatalf("%s after %s", id, ids[i-1])
		}
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 10_000 {
		t.Error(n)
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		event.Subject
		kind string
	}{
		"events.transactions.created":   {event.Subject{Domain: "transactions", Action: "created"}, "transaction.created"},
		"events.clearing.window.opened": {event.Subject{Domain: "clearing", Entity: "window", Action: "opened"}, "window.opened"},
		"events.audit.a.b-c.D_1":        {event.Subject{Domain: "audit", Entity: "a.b-c", Action: "D_1"}, "a.b-c.D_1"},
		"events.compliance.alert":       {event.Subject{Domain: "compliance", Action: "alert"}, "compliance.alert"},
		"events.status.red":             {event.Subject{Domain: "status", Action: "red"}, "status.red"},
		"events.s.red":                  {event.Subject{Domain: "s", Action: "red"}, "s.red"},
	} {
		s, err := event.ParseSubject(text)
		if err != nil || s != want.Subject || s.String() != text || s.Type() != want.kind {
			t.Errorf("%s: %+v %s %v", text, s, s.Type(), err)
		}
		if e, err := event.New(s.Type(), "x", nil); err != nil {
			t.Error(e, err)
		}
	}
	for text, want := range map[string]string{
		"":                   `subject "": not of the form events.<domain>.<action> or events.<domain>.<entity>.<action>`,
		"events.risk":        `subject "events.risk": not of the form *`,
		"event.risk.x":       `subject "event.risk.x": not of the form *`,
		"events..x":          `subject "events..x": "" is not a token of letters, digits, - and _`,
		"events.risk.>":      `subject "events.risk.>": ">" is not a token *`,
		"events.risk.*":      `subject "events.risk.*": "\*" is not a token *`,
		"events.risk.a b":    `subject "events.risk.a b": "a b" is not a token *`,
		"events.risk.limit.": `subject "events.risk.limit.": "" is not a token *`,
	} {
		if _, err := event.ParseSubject(text); err == nil || !matches(strings.ReplaceAll(want, `\*`, "*"), err.Error()) {
			t.Errorf("%s: %v, not %s", text, err, want)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.*", "a.b", true}, {"a.>", "a.b.c", true}, {"a.>", "a.*.>", true}, {"*.*", "a.*", true}, {">", "a", true},
		{"a.b", "a.*", false}, {"a.*", "a.b.c", false}, {"a.>", "a", false}, {"a.*", "a.>", false}, {"a.b.c", "a.b", false}, {"*", ">", false},
	} {
		if got := event.Covers(c.pattern, c.subject); got != c.want {
			t.Errorf("%s covers %s: %v", c.pattern, c.subject, got)
		}
	}
}
