package config

import (
	"fmt"
	"strconv"
	"strings"
)

// A path leads to a key: table names, the names of streams and consumers, and [i] for an element of another list.
type path []string

// with returns the path extended; p stays as it is.
func (p path) with(keys ...string) path { return append(p[:len(p):len(p)], keys...) }

func (p path) index(i int) path { return p.with(fmt.Sprintf("[%d]", i)) }

// last is the key itself.
func (p path) last() string {
	if len(p) == 0 {
		return ""
	}
	return p[len(p)-1]
}

// String is how the path is written in problems: streams.AUDIT.subjects[1].
func (p path) String() string {
	var b strings.Builder
	for i, k := range p {
		if i > 0 && !isIndex(k) {
			b.WriteByte('.')
		}
		if isIndex(k) || bare(k) {
			b.WriteString(k)
		} else {
			b.WriteString(strconv.Quote(k))
		}
	}
	return b.String()
}

func isIndex(k string) bool { return strings.HasPrefix(k, "[") && strings.HasSuffix(k, "]") }

// bare reports whether TOML takes k as a key without quotes.
func bare(k string) bool {
	for _, r := range k {
		if !(r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return false
		}
	}
	return k != ""
}
