package bootstrap

import (
	"fmt"
	"maps"
	"slices"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// block finds the declared streams that cannot have their subjects, because a stream that stays as it is has them: one
// that is not declared, or one that cannot give them up. A stream that is blocked stays as it is as well, and so on.
func (w *world) block(names []string) {
	fixed := map[string][]string{}
	for name, s := range w.have.Streams {
		e := w.declared[name]
		if e == nil || len(s.Config.Subjects) > 0 && e.declared.Mirror != nil && s.Config.Mirror == nil {
			fixed[name] = s.Config.Subjects
		}
	}
	for again := true; again; {
		again = false
		for _, name := range names {
			e := w.declared[name]
			if _, done := fixed[name]; done || w.refused[name] != "" {
				continue
			}
			want := e.normal(e.declared).Subjects
			if e.there != nil && slices.Equal(want, sorted(e.there.Config.Subjects)) {
				continue
			}
			why := takenBy(want, fixed)
			if why == "" {
				continue
			}
			again = true
			if e.there == nil {
				w.refused[name] = why
			} else {
				e.blocked, fixed[name] = why, e.there.Config.Subjects
			}
		}
	}
}

func takenBy(want []string, fixed map[string][]string) string {
	if len(fixed) == 0 {
		return ""
	}
	for _, other := range slices.Sorted(maps.Keys(fixed)) {
		if subject := overlap(want, fixed[other]); subject != "" {
			return fmt.Sprintf("stream %s already captures %s", other, subject)
		}
	}
	return ""
}

// overlap is a subject of b that a also captures; empty if there is none.
func overlap(a, b []string) string {
	for _, s := range a {
		for _, t := range b {
			if natsserver.SubjectsCollide(s, t) {
				return t
			}
		}
	}
	return ""
}
