package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/event"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const good = `{
  "event_id": "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99",
  "event_type": "transaction.created",
  "timestamp": "2025-11-06T12:00:00Z",
  "source": "token-engine",
  "version": "1.0",
  "data": {"transaction_id": "7", "amount": 1000.00, "currency": "USD"},
  "metadata": {"correlation_id": "11111111-2222-3333-4444-555555555555", "user_id": "AAAAAAAA-bbbb-CCCC-dddd-EEEEEEEEEEEE"}
}`

// with is the good event with another value for a member, or without it.
func with(name, value string) string {
	var b strings.Builder
	for line := range strings.Lines(good) {
		if !strings.HasPrefix(line, `  "`+name+`":`) {
			b.WriteString(line)
		} else if value != "" {
			b.WriteString(`  "` + name + `": ` + value)
			if strings.HasSuffix(line, ",\n") {
				b.WriteString(",\n")
			}
		}
	}
	return strings.Replace(b.String(), ",\n}", "\n}", 1)
}

// The one table of good and bad events: Decode and the schema have to agree on every line. What is wrong is what Decode
// says; empty: nothing.
var table = []struct{ text, wrong string }{
	{good, ""},
	{strings.Join(strings.Fields(good), ""), ""},
	{with("", ""), ""},

	{with("event_id", ""), "event_id is missing"},
	{with("event_id", `""`), "event_id is missing"},
	{with("event_id", `7`), "event_id is a number, not a string"},
	{with("event_id", `null`), "event_id is null, not a string"},
	{with("event_id", `"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a9"`), `event_id "0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a9" is not a UUID such as 0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99`},
	{with("event_id", `"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99\n"`), "event_id * is not a UUID*"},
	{with("event_id", `"0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a9g"`), "event_id * is not a UUID*"},
	{with("event_id", `"0190b5a0a7e7c-7e41-a9a5-6d3f2c1b0a99"`), "event_id * is not a UUID*"},
	{with("event_id", `"{0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a}"`), "event_id * is not a UUID*"},
	{with("event_id", `"\u0030190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99"`), ""},
	{with("event_id", `"00000000-0000-0000-0000-000000000000"`), ""},

	{with("event_type", ""), "event_type is missing"},
	{with("event_type", `["a.b"]`), "event_type is an array, not a string"},
	{with("event_type", `"created"`), `event_type "created" is not of the form <entity>.<action>, in letters, digits, - and _, 200 at most`},
	{with("event_type", `"clearing.window.opened"`), ""},
	{with("event_type", `"Clearing_1.Window-2"`), ""},
	{with("event_type", `"a..b"`), "event_type * is not of the form *"},
	{with("event_type", `"a.b."`), "event_type * is not of the form *"},
	{with("event_type", `"a.b c"`), "event_type * is not of the form *"},
	{with("event_type", `"a.*"`), "event_type * is not of the form *"},
	{with("event_type", `"a.é"`), "event_type * is not of the form *"},
	{with("event_type", `"a.`+strings.Repeat("b", 198)+`"`), ""},
	{with("event_type", `"a.`+strings.Repeat("b", 199)+`"`), "event_type * is not of the form *"},

	{with("timestamp", ""), "timestamp is missing"},
	{with("timestamp", `1762430400`), "timestamp is a number, not a string"},
	{with("timestamp", `""`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T12:00:00"`), `timestamp "2025-11-06T12:00:00" is not a time such as 2025-11-06T12:00:00.25Z: RFC 3339 with its zone, from 1970 to 9999, T and Z in capitals, at most 9 digits of a fraction, no leap second`},
	{with("timestamp", `"2025-11-06"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06 12:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06t12:00:00z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T12:00:00,5Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T12:00:00.Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T1:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T24:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T12:60:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2016-12-31T23:59:60Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-13-06T12:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-02-30T12:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-02-29T12:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2024-02-29T12:00:00Z"`), ""},
	{with("timestamp", `"2025-11-06T13:00:00.250+01:00"`), ""},
	{with("timestamp", `"2025-11-06T13:00:00-23:59"`), ""},
	{with("timestamp", `"2025-11-06T13:00:00+24:00"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T13:00:00+0100"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"2025-11-06T13:00:00.123456789Z"`), ""},
	{with("timestamp", `"2025-11-06T13:00:00.1234567890Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"0001-01-01T00:00:00Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"1969-12-31T23:59:59Z"`), "timestamp * is not a time such as *"},
	{with("timestamp", `"1970-01-01T00:00:00Z"`), ""},
	{with("timestamp", `"9999-12-31T23:59:59.999999999-23:59"`), ""},
	{with("timestamp", `"12025-11-06T12:00:00Z"`), "timestamp * is not a time such as *"},

	{with("source", ""), "source is missing"},
	{with("source", `""`), "source is missing"},
	{with("source", `false`), "source is a boolean, not a string"},
	{with("source", `"Zahlungsverkehr Süd & \"Co\" \\ \u20ac <b> \u2028"`), ""},
	{with("source", `"a\u0000b"`), `source "a\x00b" has control characters, or more than 200`},
	{with("source", `"a\n"`), "source * has control characters*"},
	{with("source", `"`+strings.Repeat("ü", 200)+`"`), ""},
	{with("source", `"`+strings.Repeat("ü", 201)+`"`), "source * has control characters, or more than 200"},

	{with("version", ""), "version is missing"},
	{with("version", `1.0`), "version is a number, not a string"},
	{with("version", `"2"`), ""},
	{with("version", `"1.0.17"`), ""},
	{with("version", `"v1"`), `version "v1" is not a version such as "1.0"`},
	{with("version", `"1."`), "version * is not a version *"},
	{with("version", `"12345678901234567890.1"`), "version * is not a version *"},

	{with("data", ""), "data is missing"},
	{with("data", `null`), "data is null, not an object"},
	{with("data", `"text"`), "data is a string, not an object"},
	{with("data", `[1]`), "data is an array, not an object"},
	{with("data", `{}`), ""},
	{with("data", `{"amount": 1e400, "n": 123456789012345678901234567890.10, "deep": [[{"}": "]\"\\"}], {}], "t": true}`), ""},

	{with("metadata", ""), ""},
	{with("metadata", `{}`), ""},
	{with("metadata", `null`), "metadata is null, not an object"},
	{with("metadata", `[]`), "metadata is an array, not an object"},
	{with("metadata", `{"trace": {"user_id": 1}}`), ""},
	{with("metadata", `{"user_id": "u-17"}`), `metadata.user_id "u-17" is not a UUID`},
	{with("metadata", `{"user_id": ""}`), "metadata.user_id is empty; leave it out"},
	{with("metadata", `{"user_id": null}`), "metadata.user_id is null, not a string"},
	{with("metadata", `{"correlation_id": 7, "user_id": []}`), "metadata.correlation_id is a number, not a string; metadata.user_id is an array, not a string"},

	// Members that nobody knows, and some that only look like those that are known.
	{with("version", `"1.1", "priority": 3, "":{"a":[]}`), ""},
	{with("source", `"x", "Event_ID": 7, "DATA": []`), ""},
	{with("event_id", `"x", "source": "y"`), "*"},

	// Everything at once.
	{`{}`, "event_id is missing; event_type is missing; timestamp is missing; source is missing; version is missing; data is missing"},
	{`{"event_id": "x", "timestamp": 1, "data": 2}`, `timestamp is a number, not a string; data is a number, not an object; event_id "x" is not a UUID such as 0190b5a0-7e7c-7e41-a9a5-6d3f2c1b0a99; event_type is missing; source is missing; version is missing`},
	{`[]`, "is an array, not an object"},
	{` null `, "is null, not an object"},
	{`"event"`, "is a string, not an object"},
	{`17`, "is a number, not an object"},
}

var compiled = func() *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(event.Schema()))
	if err != nil {
		panic(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("event.json", doc); err != nil {
		panic(err)
	}
	return c.MustCompile("event.json")
}()

// bySchema is what a validator in another language says.
func bySchema(text string) error {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return compiled.Validate(doc)
}

func TestTable(t *testing.T) {
	t.Parallel()
	for _, c := range table {
		_, err := event.Decode([]byte(c.text))
		said := ""
		if err != nil {
			said = strings.TrimPrefix(err.Error(), "not a valid event: ")
			if e := (*event.InvalidError)(nil); !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Errorf("%s: %T", c.text, err)
			}
		}
		if !matches(c.wrong, said) {
			t.Errorf("%s\nDecode says %q, not %q", c.text, said, c.wrong)
		}
		if err := bySchema(c.text); (err == nil) != (c.wrong == "") {
			t.Errorf("%s\nthe schema says: %v", c.text, err)
		}
	}
}

// matches takes * for anything.
func matches(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return s == pattern
	}
	if s == "" || !strings.HasPrefix(s, parts[0]) || !strings.HasSuffix(s, parts[len(parts)-1]) {
		return false
	}
	for _, p := range parts {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

// What no schema sees.
func TestNotAnEvent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "is not JSON: unexpected end of JSON input",
		"  ":                                 "is not JSON: *",
		good + "x":                           "is not JSON: invalid character 'x' after top-level value",
		good[:100]:                           "is not JSON: *",
		with("source", "\"\xff\""):           "is not UTF-8",
		with("data", "{\"a\": \"\xff\"}"):    "is not UTF-8",
		with("source", `"a", "source": "b"`): "source is there twice",
		with("source", `"a", "x": 1, "\u0078": 2`):                    "x is there twice",
		with("metadata", `{"user_id": 1, "a": 1, "\u0075ser_id": 2}`): "metadata.user_id *",
		with("metadata", `{"a": 1, "a": 1}`):                          "metadata.a is there twice",
	} {
		_, err := event.Decode([]byte(text))
		if err == nil || !matches("not a valid event: "+want, err.Error()) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
	if !json.Valid([]byte(event.Schema())) {
		t.Error("the schema is not JSON")
	}
}
