package event

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// members calls do with each member of an object in valid JSON: which of the known names it has, or -1, its value, and
// all of it as it stands there. It returns a name that is there twice. encoding/json has no such thing: into a struct it
// matches names whatever their case, into a map it forgets their order, and of two with one name it takes the last.
func members(object []byte, known []string, do func(which int, value, whole []byte)) (twice string, is bool) {
	var seen [8]bool
	var others map[string]bool
	i := space(object, 0) + 1 // past the {
	for {
		i = space(object, i)
		if object[i] == '}' {
			return twice, is
		}
		begin := i
		i = skip(object, i)
		name := unquote(object[begin:i])
		i = space(object, space(object, i)+1) // past the :
		from := i
		i = skip(object, i)
		which := slices.IndexFunc(known, func(k string) bool { return k == string(name) })
		switch {
		case which < 0 && others[string(name)], which >= 0 && seen[which]:
			twice, is = string(name), true
		case which < 0:
			if others == nil {
				others = map[string]bool{}
			}
			others[string(name)] = true
			do(which, object[from:i:i], object[begin:i:i])
		default:
			seen[which] = true
			do(which, object[from:i:i], object[begin:i:i])
		}
		if i = space(object, i); object[i] == ',' {
			i++
		}
	}
}

// space is the first place from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skip is the place behind the value at i.
func skip(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\n', '\t', '\r', ',', ':':
			i++
		default:
			for i < len(b) && !bytes.ContainsRune([]byte(" \n\t\r,]}"), rune(b[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// unquote is what a string in valid JSON says; it may be a part of it.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	_ = json.Unmarshal(quoted, &s)
	return []byte(s)
}

// appendString quotes s, and escapes nothing that need not be.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// kindOf names what stands at the begin of a value.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// excerpt is a text for a message, quoted, and not longer than a line.
func excerpt(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
