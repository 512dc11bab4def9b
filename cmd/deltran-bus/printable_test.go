//go:build unix

package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/deltran/deltran-bus/deadletter"
	"github.com/nats-io/nats.go"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                "",
		"Süd & <Co>":                      "Süd & <Co>",
		"a\x1b[31m\tb\n":                  `a\u001b[31m\u0009b\u000a`,
		"\u009b1m \u202e \U000e0001":      `\u009b1m \u202e \ue0001`,
		"\x9b1m \xff, and what is \ufffd": "\\x9b1m \\xff, and what is \ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %s, not %s", in, got, want)
		}
	}
	if got := printableText("a\tb\n\x1b\r"); got != "a\tb\n\\u001b\\u000d" {
		t.Errorf("%q", got)
	}
}

// dead-letters show let a payload do to the terminal what it wanted; a program gets every byte.
func TestShowOnATerminal(t *testing.T) {
	t.Parallel()
	l := deadletter.Letter{Header: nats.Header{"X-\x1b": {"\x1b[2J"}}, Data: []byte("{\n\t\"a\": \"\x1b[31m\x9b\"}")}
	const head = "letter    //0, number 0\ngiven up  , , delivered 0 times\n\nX-\\u001b: \\u001b[2J\n\n"
	for terminal, want := range map[bool]string{
		true:  "{\n\t\"a\": \"\\u001b[31m\\x9b\"}\n",
		false: "{\n\t\"a\": \"\x1b[31m\x9b\"}\n",
	} {
		var b bytes.Buffer
		if err := printLetter(&b, l, terminal); err != nil || b.String() != head+want {
			t.Errorf("%q %v\nnot\n%q", b.String(), err, head+want)
		}
	}
}

func TestJSONForTerminals(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeJSON(&b, "<\x1b\x7f\u0085\u00a0>"); err != nil || b.String() != "\"<\\u001b\\u007f\\u0085\u00a0>\"\n" {
		t.Errorf("%q %v", b.String(), err)
	}
}

// Errors quote what somebody published.
func TestReport(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if code := report(errors.New("publish \x1b[31m:\n\tno"), &b); code != exitFailed || b.String() != "deltran-bus: publish \\u001b[31m:\n\tno\n" {
		t.Errorf("%d %q", code, b.String())
	}
}
