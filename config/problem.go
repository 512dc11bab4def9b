package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake in a declaration.
type Problem struct {
	File    string `json:"file,omitempty"` // file, flag or environment variable that says it
	Line    int    `json:"line,omitempty"` // 0 when it came from a flag, the environment or Go
	Path    string `json:"path,omitempty"` // "streams.AUDIT.max_age"
	Message string `json:"message"`        // what is wrong, and what is allowed
	Hint    string `json:"hint,omitempty"` // the nearest valid key

	at      path
	foreign bool // in nats-server's words
}

// Error is the problem in one line: file:line: key.path: what is wrong; what is allowed; nearest key.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	} else if p.File != "" {
		fmt.Fprintf(&b, "%s: ", p.File)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Hint)
	}
	return b.String()
}

// Problems is every mistake at once, a line each. It is the error of Load and Check.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

func (ps *Problems) add(at path, format string, args ...any) {
	*ps = append(*ps, Problem{at: at, Path: at.String(), Message: fmt.Sprintf(format, args...)})
}

// in finds every problem's place: the last source that says its path, or else the nearest table above it.
func (ps Problems) in(sources []Source) error {
	if len(ps) == 0 {
		return nil
	}
	for i := range ps {
		p := &ps[i]
		for at := p.at; len(at) > 0 && p.File == ""; at = at[:len(at)-1] {
			for _, s := range slices.Backward(sources) {
				if s.has(at) {
					p.File, p.Line = s.name, s.line(at)
					break
				}
			}
		}
	}
	return ps.sorted()
}

func (ps Problems) sorted() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, cmp.Compare(a.Path, b.Path))
	})
	return slices.CompactFunc(ps, func(a, b Problem) bool { return a.Error() == b.Error() })
}
