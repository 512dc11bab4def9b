package config

import (
	"context"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// judge adds what is wrong with the declaration as a whole to what is wrong with its keys, and places it all. A stream
// that did not decode is not looked at further.
func (c *Config) judge(ctx context.Context, sc scope, ps Problems) error {
	broken := func(s Stream, keys ...string) bool {
		return slices.ContainsFunc(ps, func(p Problem) bool {
			return len(p.at) > 1 && p.at[0] == "streams" && p.at[1] == s.Name && (len(keys) == 0 || len(p.at) > 2 && slices.Contains(keys, p.at[2]))
		})
	}
	ps = append(ps, streamProblems(c.Streams, func(s Stream) bool { return broken(s, "subjects", "mirror", "sources", "subject_transform") })...)
	if sc == forLayout {
		return ps.in(c.sources)
	}
	services := c.serviceProblems()
	opts, _, nats := c.natsOptions(nil)
	ps = append(append(ps, services...), unsaid(nats, services)...)
	ps = append(ps, c.monitorProblems()...)
	ps = append(ps, c.listenProblems(opts, nats)...)
	ps = append(ps, c.nodeProblems()...)
	ps = append(ps, scrubProblems(c.Scrub)...)
	ps = append(ps, auditProblems(c.Audit)...)
	if sc == forMachine {
		streams := slices.DeleteFunc(slices.Clone(c.Streams), func(s Stream) bool { return broken(s) })
		ps = append(ps, c.machineProblems()...)
		streams = slices.DeleteFunc(streams, c.untouched) // a test has tried those
		if len(streams) > 0 {
			ps = append(ps, rehearse(ctx, streams, opts)...)
		}
	}
	return ps.in(c.sources)
}

// unsaid leaves out what nats-server complains of where we have said already what is wrong, and better.
func unsaid(nats, ours Problems) Problems {
	return slices.DeleteFunc(slices.Clone(nats), func(p Problem) bool {
		return p.foreign && len(p.at) > 1 && slices.ContainsFunc(ours, func(o Problem) bool {
			return len(o.at) > 1 && slices.Equal(o.at[:2], p.at[:2]) || slices.Contains(p.at, ownAccount) // which nobody wrote
		})
	})
}

// machineProblems asks this machine: are secrets and certificates there, and does nats-server take it all together?
func (c *Config) machineProblems() (ps Problems) {
	if len(c.monitorProblems()) == 0 {
		_, ps = c.monitorAccess()
	}
	o, secrets, nats := c.natsOptions(resolveSecret)
	if ps = append(ps, unsaid(nats, c.serviceProblems())...); len(ps) > 0 || c.plain() {
		return ps
	}
	if _, err := natsserver.NewServer(o); err != nil { // looks at the options as a whole, opens nothing
		ps.add(path{"nats"}, "%s", Redact(plainWords(err.Error()), secrets))
	}
	return ps
}

// plain reports whether [nats] is the embedded file's, but for where the bus listens and keeps its store: nats-server
// takes that.
func (c *Config) plain() bool {
	if len(c.Services) > 0 {
		return false
	}
	usual := []string{"listen", "server_name"}
	usualJS := []string{"store_dir", "max_file_store", "max_memory_store", "sync_interval"}
	for _, s := range c.sources[min(1, len(c.sources)):] {
		nats, _ := s.tree["nats"].(map[string]any)
		js, _ := nats["jetstream"].(map[string]any)
		for k := range nats {
			if k != "jetstream" && !slices.Contains(usual, k) {
				return false
			}
		}
		for k := range js {
			if !slices.Contains(usualJS, k) {
				return false
			}
		}
	}
	return len(c.sources) > 0
}

// untouched reports whether nothing but the embedded file declares the stream, or limits all streams.
func (c *Config) untouched(st Stream) bool {
	for _, s := range c.sources[min(1, len(c.sources)):] {
		if s.has(path{"streams", st.Name}) || s.has(path{"nats", "jetstream", "limits"}) {
			return false
		}
	}
	return len(c.sources) > 0
}
