package event_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deltran/deltran-bus/event"
	"github.com/google/go-cmp/cmp"
)

// FuzzDecode holds for every input: Decode and the schema agree; what was decoded and encoded says the same to
// encoding/json, and decodes to the same again, data and metadata byte for byte.
func FuzzDecode(f *testing.F) {
	for _, c := range table {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		e, err := event.Decode(in)
		if !bytes.Equal(in, before) {
			t.Fatalf("Decode changed %q into %q", before, in)
		}
		if json.Valid(in) && utf8.Valid(in) && (err == nil || !strings.Contains(err.Error(), "is there twice")) {
			if said := bySchema(string(in)); (said == nil) != (err == nil) {
				t.Fatalf("%s\nDecode says %v, the schema %v", in, err, said)
			}
		}
		if err != nil {
			return
		}
		out, err := e.Encode()
		if err != nil {
			t.Fatalf("%s\n%v", in, err)
		}
		again, err := event.Decode(out)
		if err != nil {
			t.Fatalf("%s\n%s\n%v", in, out, err)
		}
		var was, is map[string]json.RawMessage
		if err := json.Unmarshal(in, &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &is); err != nil {
			t.Fatal(err)
		}
		if was["metadata"] == nil {
			was["metadata"] = json.RawMessage("{}")
		}
		for _, name := range []string{"event_id", "event_type", "source", "version"} { // another way to write the same
			was[name] = normal(t, was[name])
			is[name] = normal(t, is[name])
		}
		if delete(was, "timestamp"); !e.Timestamp.Equal(again.Timestamp) {
			t.Errorf("%s is %s", e.Timestamp, again.Timestamp)
		}
		delete(is, "timestamp")
		if d := cmp.Diff(was, is); d != "" {
			t.Errorf("%s\n%s\n%s", in, out, d)
		}
		if twice, err := again.Encode(); !bytes.Equal(twice, out) || err != nil {
			t.Errorf("%s\n%s\n%v", out, twice, err)
		}
	})
}

func normal(t *testing.T, quoted json.RawMessage) json.RawMessage {
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzSubject: what parses is what it prints, and its type is one that an event can have.
func FuzzSubject(f *testing.F) {
	f.Add("events.transactions.created")
	f.Add("events.clearing.window.opened")
	f.Add("events.>")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := event.ParseSubject(in)
		if err != nil {
			return
		}
		if s.String() != in || slices.Contains([]string{s.Domain, s.Action}, "") || strings.Contains(s.Domain+s.Action, ".") {
			t.Errorf("%q is %+v", in, s)
		}
		if _, err := event.New(s.Type(), "x", nil); err != nil && len(in) < 200 {
			t.Error(err)
		}
	})
}
