package bootstrap

import "slices"

// kind is what settling needs to know about one thing that is there and declared: a stream or a consumer.
type kind[C any] struct {
	have     C         // normalised
	declared C         // as it was written
	normal   func(C) C // what the server makes of it
	judge    func(field string, have, want C) (Class, string)
	refuse   func(C) string      // why the server refuses a normalised config as a whole; empty: it does not
	linked   map[string][]string // fields that stay as they are when a field is held
}

// compare lists what differs between what is there and a normalised config, judged.
func (k kind[C]) compare(want C) (out []Field) {
	if equal(k.have, want) {
		return nil
	}
	h, w := fieldsOf(k.have), fieldsOf(want)
	for _, name := range differing(h, w) {
		f := Field{Name: name, Have: h[name], Want: w[name], Class: Safe}
		f.Class, f.Why = k.judge(name, k.have, want)
		out = append(out, f)
	}
	return out
}

// settle finds the config that may be applied: the declaration, with each field that the allowance does not cover as it
// is there, normalised anew, since a derived field must not be applied without the one that it derives from. In the end
// every field has the value that it has or the one that is declared, and none in between.
// It returns the config to send, the fields that it changes, and those that still differ from the declaration.
func settle[C any](k kind[C], a Allow) (send C, done, held []Field) {
	want := k.normal(k.declared)
	s := settling[C]{k, a, k.compare(want)}
	send, done, ok := s.holding(nil)
	if !ok {
		send, done = s.combine()
	}
	if len(done) == len(s.all) {
		return send, done, nil
	}
	for _, f := range s.all {
		if named(done, f.Name) != nil {
			continue
		}
		if a.Permits(f.Class) {
			f.Why = join(f.Why, "waits for a field that is held")
		}
		held = append(held, f)
	}
	return send, done, held
}

// settling is one search for what may be applied.
type settling[C any] struct {
	kind[C]
	allow Allow
	all   []Field // everything that differs from the declaration
}

// holding is the declaration with some fields as they are there, and what that would change. What may not be changed is
// held as well. It is not ok when something is changed that was to be held, or when the server would refuse the whole.
func (s settling[C]) holding(hold map[string]bool) (send C, done []Field, ok bool) {
	hold = s.withLinked(hold)
	for again := true; again; {
		again = false
		send, done, ok = s.without(hold)
		if !ok {
			return send, nil, false
		}
		for _, f := range done {
			if d := named(s.all, f.Name); d != nil && equal(d.Want, f.Want) && s.allow.Permits(d.Class) && s.allow.Permits(f.Class) {
				continue
			}
			if hold[f.Name] {
				return send, nil, false
			}
			again, hold[f.Name] = true, true
			hold = s.withLinked(hold)
		}
	}
	return send, done, s.refuse(s.normal(send)) == ""
}

func (s settling[C]) withLinked(hold map[string]bool) map[string]bool {
	out := map[string]bool{}
	for f := range hold {
		out[f] = true
		for _, l := range s.linked[f] {
			out[l] = true
		}
	}
	return out
}

func (s settling[C]) without(hold map[string]bool) (send C, done []Field, ok bool) {
	send = s.declared
	if len(hold) > 0 {
		var c C
		is, m := fieldsOf(s.have), fieldsOf(s.declared)
		for f := range hold {
			keep(m, is, f)
		}
		if fill(&c, m) != nil {
			return send, nil, false
		}
		send = c
	}
	return send, s.compare(s.normal(send)), true
}

// keep sets a field of m to what it is there. filter_subject is one with filter_subjects: normalised it is the list.
func keep(m, is map[string]any, field string) {
	if field == "filter_subjects" {
		delete(m, "filter_subject")
	}
	if v, ok := is[field]; ok {
		m[field] = v
	} else {
		delete(m, field)
	}
}

// combine is for the rare case that what is left is refused in combination: first one field less, then, from what is
// there, whatever fits, by one field or two that need each other.
func (s settling[C]) combine() (best C, done []Field) {
	for _, f := range s.all {
		if send, fs, ok := s.holding(map[string]bool{f.Name: true}); ok && len(fs) > 0 {
			return send, fs
		}
	}
	hold := map[string]bool{}
	for _, f := range s.all {
		hold[f.Name] = true
	}
	best = s.have
	try := func(names ...string) bool {
		for _, n := range names {
			delete(hold, n)
		}
		send, fs, ok := s.holding(hold)
		grew := ok && len(fs) > len(done)
		if grew {
			best, done = send, fs
		}
		for _, f := range s.all {
			hold[f.Name] = true
		}
		for _, f := range done {
			delete(hold, f.Name)
		}
		return grew
	}
	for grew := true; grew; {
		grew = false
		for i, f := range s.all {
			if !hold[f.Name] {
				continue
			}
			grew = try(f.Name) || grew
			for _, g := range s.all[i+1:] {
				if hold[f.Name] && hold[g.Name] {
					grew = try(f.Name, g.Name) || grew
				}
			}
		}
	}
	return best, done
}

func named(fields []Field, name string) *Field {
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &fields[i]
}

func join(why, more string) string {
	if why == "" {
		return more
	}
	return why + "; " + more
}
