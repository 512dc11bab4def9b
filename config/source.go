package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// maxText is the longest declaration read: far beyond any real one, and short enough for hostile ones to be cheap.
const maxText = 4 << 20

// A Source is one layer of the declaration: the embedded defaults, a file, a flag, an environment variable.
type Source struct {
	name, text string
	tree       map[string]any
	lines      func() map[string]int // by path, found when a mistake has to be placed
	problems   Problems
}

// File is a TOML document; name stands for it in problems.
func File(name, text string) Source {
	s := Source{name: name, text: text, lines: sync.OnceValue(func() map[string]int { return lines(text) })}
	if len(text) > maxText {
		s.problems = Problems{{File: name, Line: 1, Message: fmt.Sprintf("is %d bytes long; a declaration has at most %d", len(text), maxText)}}
		return s
	}
	_, err := toml.Decode(text, &s.tree)
	if pe, ok := err.(toml.ParseError); ok {
		line := 1 + strings.Count(text[:min(max(pe.Position.Start, 0), len(text))], "\n")
		s.problems = Problems{{File: name, Line: line, Path: pe.LastKey, Message: "is not TOML: " + pe.Message}}
	} else if err != nil {
		s.problems = Problems{{File: name, Line: 1, Message: "is not TOML: " + err.Error()}}
	}
	return s
}

// Set is one key, such as Set("--listen", "nats.listen", "127.0.0.1:0"); origin names it in problems.
func Set(origin, path string, value any) Source {
	keys := strings.Split(path, ".")
	for _, k := range slices.Backward(keys) {
		value = map[string]any{k: value}
	}
	return Source{name: origin, tree: value.(map[string]any)}
}

// merge lays the trees over one another without touching them: tables key by key, streams, their consumers and services
// by name, everything else by replacement.
func merge(sources []Source) (map[string]any, Problems) {
	out := map[string]any{}
	for _, s := range sources {
		overlay(out, s.tree, "streams", "services")
	}
	keep := true
	if bus, ok := out["bus"].(map[string]any); ok && bus["default_streams"] == false {
		keep = false
	}
	var streams, services named
	for i, s := range sources {
		if i > 0 || keep {
			streams.add(s, s.tree["streams"], path{"streams"}, "consumers")
		}
		services.add(s, s.tree["services"], path{"services"}, "")
	}
	streams.put(out, "streams")
	services.put(out, "services")
	return out, append(streams.problems, services.problems...)
}

// put is the merged list as a key of the table.
func (n *named) put(table map[string]any, key string) {
	if n.other != nil {
		table[key] = n.other
	} else if len(n.list) > 0 {
		table[key] = n.list
	}
}

// overlay puts every key of over into base, but for those named; base belongs to the caller, over stays as it is.
func overlay(base, over map[string]any, but ...string) {
	for k, v := range over {
		if slices.Contains(but, k) {
			continue
		}
		if o, ok := v.(map[string]any); ok {
			b, ok := base[k].(map[string]any)
			if b = maps.Clone(b); !ok {
				b = map[string]any{}
			}
			overlay(b, o)
			v = b
		}
		base[k] = v
	}
}

// named is a list of tables that are known by their name.
type named struct {
	list     []any
	other    any // what stands where the list should, for the decoder to complain about
	problems Problems
}

// add merges one source's list; sub is the key of a list within each table that is merged the same way.
func (n *named) add(s Source, v any, at path, sub string) {
	seen := map[string]bool{}
	for i, t := range tables(v, &n.other) {
		own := at.index(i)
		bad := func(shown path, format string, args ...any) {
			n.problems = append(n.problems, Problem{File: s.name, Line: s.line(own), Path: shown.String(), Message: fmt.Sprintf(format, args...)})
		}
		name, ok := nameOf(t)
		switch {
		case !ok:
			bad(own, "has no name; write name = \"…\"")
			continue
		case seen[name]:
			bad(at.with(name), "is declared a second time in this file; leave one")
			continue
		}
		seen[name] = true
		to := n.find(name)
		if d, ok := t["durable_name"].(string); ok && d != name {
			bad(at.with(name), "has the name %q and the durable_name %q; a declared consumer has one", name, d)
		}
		overlay(to, t, sub, "durable_name")
		to["name"] = name
		if sub == "" {
			continue
		}
		inner := named{}
		inner.list, _ = to[sub].([]any)
		inner.add(s, t[sub], at.with(name, sub), "")
		n.problems = append(n.problems, inner.problems...)
		inner.put(to, sub)
	}
}

// find returns the table of that name, a new one at the end if there is none.
func (n *named) find(name string) map[string]any {
	for _, t := range n.list {
		if t := t.(map[string]any); t["name"] == name {
			return t
		}
	}
	t := map[string]any{"name": name}
	n.list = append(n.list, t)
	return t
}

// tables is v as a list of tables; anything else goes to other.
func tables(v any, other *any) (out []map[string]any) {
	switch v := v.(type) {
	case nil:
	case []map[string]any:
		return v
	case []any:
		for _, e := range v {
			t, ok := e.(map[string]any)
			if !ok {
				*other = v
				return nil
			}
			out = append(out, t)
		}
	default:
		*other = v
	}
	return out
}

// nameOf is the name of a stream's or consumer's table; a consumer may say durable_name, as JetStream's API does.
func nameOf(t map[string]any) (string, bool) {
	for _, k := range []string{"name", "durable_name"} {
		if s, ok := t[k].(string); ok && s != "" {
			return s, true
		}
	}
	return "", false
}
