package bootstrap

import "slices"

// order adds what has to come first: a stream gives up a subject before another takes it, and stands before a mirror or a
// source copies it. Where subjects move in a circle, one stream lets go of them in a step of its own. The same holds for
// the filters of a work queue's consumers.
func order(steps []*step) []*step {
	byName := map[string]*step{}
	for _, s := range steps {
		if s.change.stream != nil {
			byName[s.change.Stream] = s
		}
	}
	waits := map[*step][]*step{} // for a subject
	copies := map[*step][]*step{}
	tangled := false
	for _, s := range steps {
		for _, o := range steps {
			if o != s && o.group == s.group && len(o.has) > 0 && overlap(s.wants, o.has) != "" {
				waits[s], tangled = append(waits[s], o), true
			}
		}
		for _, name := range s.origins {
			if o := byName[name]; o != nil && o != s {
				copies[s], tangled = append(copies[s], o), true
			}
		}
	}
	if !tangled {
		return steps
	}
	return untangle(steps, waits, copies)
}

// untangle walks the steps as they could be made and, where none could, takes the first and cuts its knot.
func untangle(steps []*step, waits, copies map[*step][]*step) []*step {
	var halves []*step
	free := map[*step]bool{}
	open := func(s *step, of map[*step][]*step) bool {
		return slices.ContainsFunc(of[s], func(d *step) bool { return !free[d] })
	}
	rest := slices.Clone(steps)
	for len(rest) > 0 {
		before := len(rest)
		rest = slices.DeleteFunc(rest, func(s *step) bool {
			free[s] = free[s] || !open(s, waits) && !open(s, copies) && !slices.ContainsFunc(s.deps, func(d *step) bool { return !free[d] })
			return free[s]
		})
		if len(rest) < before {
			continue
		}
		// Two streams that copy each other may stand in any order.
		if i := slices.IndexFunc(rest, func(s *step) bool { return open(s, copies) && !open(s, waits) }); i >= 0 {
			s := rest[i]
			copies[s] = slices.DeleteFunc(copies[s], func(d *step) bool { return !free[d] })
			continue
		}
		i := slices.IndexFunc(rest, func(s *step) bool { return s.shrink != nil && wanted(s, rest, waits) })
		if i < 0 {
			break // leave it to the server
		}
		half := halve(rest[i], rest, waits)
		free[half], halves = true, append(halves, half)
	}
	for s, ds := range waits {
		s.deps = append(s.deps, ds...)
	}
	for s, ds := range copies {
		s.deps = append(s.deps, ds...)
	}
	for _, s := range rest { // a knot that could not be cut would wait for itself
		s.deps = slices.DeleteFunc(s.deps, func(d *step) bool { return slices.Contains(rest, d) })
	}
	return append(halves, steps...)
}

func wanted(s *step, rest []*step, waits map[*step][]*step) bool {
	return slices.ContainsFunc(rest, func(o *step) bool { return slices.Contains(waits[o], s) })
}

// halve lets s give up what others want of it in a step before, for which they wait instead.
func halve(s *step, rest []*step, waits map[*step][]*step) *step {
	keep := slices.Clone(s.has)
	for _, o := range rest {
		if slices.Contains(waits[o], s) {
			keep = slices.DeleteFunc(keep, func(k string) bool { return overlap(o.wants, []string{k}) != "" })
		}
	}
	half := s.shrink(keep)
	for _, o := range rest {
		if i := slices.Index(waits[o], s); i >= 0 {
			waits[o][i] = half
		}
	}
	s.deps = append(s.deps, half)
	return half
}
