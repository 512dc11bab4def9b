package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable keeps what somebody published from moving the cursor of whoever looks at it.
func printable(s string) string { return escaped(s, "") }

// printableText is printable that lets lines and columns be.
func printableText(s string) string { return escaped(s, "\n\t") }

func escaped(s, but string) string {
	bad := func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(but, r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch _, n := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\\x%02x", s[i])
		case bad(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// newEncoder writes JSON that a terminal shows as it is: encoding/json escapes no DEL, and not what is between U+0080 and
// U+009F.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(escaping{w})
	enc.SetEscapeHTML(false)
	return enc
}

type escaping struct{ io.Writer }

// Write is called with a whole value. Outside of strings JSON has no such characters.
func (e escaping) Write(b []byte) (int, error) {
	control := func(r rune) bool { return 0x7f <= r && r < 0xa0 }
	if !bytes.ContainsFunc(b, control) {
		return e.Writer.Write(b)
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if control(r) {
			fmt.Fprintf(&out, "\\u%04x", r)
		} else {
			out.WriteRune(r)
		}
	}
	_, err := e.Writer.Write(out.Bytes())
	return len(b), err
}
