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
func (k kind[C]) compare(want C) []Field { return k.between(k.have, want) }

func (k kind[C]) between(have, want C) (out []Field) {
	if equal(have, want) {
		return nil
	}
	h, w := fieldsOf(have), fieldsOf(want)
	for _, name := range differing(h, w) {
		f := Field{Name: name, Have: h[name], Want: w[name], Class: Safe}
		f.Class, f.Why = k.judge(name, have, want)
		out = append(out, f)
	}
	return out
}

// settle finds the config that may be applied: the declaration, with each field that the allowance does not cover as it
// is there, normalised anew, since a derived field must not be applied without the one that it derives from.
// It returns the config to send, the fields that it changes, and those that still differ from the declaration.
func settle[C any](k kind[C], a Allow) (send C, done, held []Field) {
	want := k.normal(k.declared)
	all := k.compare(want)
	hold := map[string]bool{}
	for {
		before := len(hold)
		send, done = k.holding(hold)
		for _, f := range done {
			if !a.Permits(f.Class) {
				hold[f.Name] = true
				for _, l := range k.linked[f.Name] {
					hold[l] = true
				}
			}
		}
		if len(hold) == before {
			break
		}
	}
	if !k.fits(send, done, a) {
		send, done = k.combine(all, hold, a)
	}
	if len(done) == len(all) {
		return send, done, nil
	}
	// What is left is judged by what it would do to what is there, not to the settled config.
	for _, f := range k.between(k.normal(send), want) {
		if i := slices.IndexFunc(all, func(g Field) bool { return g.Name == f.Name }); i >= 0 {
			f.Class, f.Why = all[i].Class, all[i].Why
		}
		if a.Permits(f.Class) {
			f.Why = join(f.Why, "waits for a field that is held")
		}
		held = append(held, f)
	}
	return send, done, held
}

// holding is the declaration with some fields as they are there, and what that would change.
func (k kind[C]) holding(hold map[string]bool) (C, []Field) {
	send := k.declared
	if len(hold) > 0 {
		is, m := fieldsOf(k.have), fieldsOf(k.declared)
		for f := range hold {
			keep(m, is, f)
		}
		var c C
		if fill(&c, m) != nil {
			return k.have, nil
		}
		send = c
	}
	return send, k.compare(k.normal(send))
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

// fits reports whether a config can be sent: no field beyond the allowance, and not refused as a whole.
func (k kind[C]) fits(send C, done []Field, a Allow) bool {
	return !slices.ContainsFunc(done, func(f Field) bool { return !a.Permits(f.Class) }) && k.refuse(k.normal(send)) == ""
}

// combine is for the rare case that what is left is refused in combination: first one field less, then, from what is
// there, field by field whatever fits.
func (k kind[C]) combine(all []Field, hold map[string]bool, a Allow) (C, []Field) {
	for _, f := range all {
		if hold[f.Name] {
			continue
		}
		hold[f.Name] = true
		if send, done := k.holding(hold); k.fits(send, done, a) {
			return send, done
		}
		delete(hold, f.Name)
	}
	for _, f := range all {
		hold[f.Name] = true
	}
	best, done := k.have, []Field(nil)
	for grew := true; grew; {
		grew = false
		for _, f := range all {
			if !hold[f.Name] {
				continue
			}
			delete(hold, f.Name)
			if send, fs := k.holding(hold); k.fits(send, fs, a) && len(fs) > len(done) {
				best, done, grew = send, fs, true
			} else {
				hold[f.Name] = true
			}
		}
	}
	return best, done
}

func join(why, more string) string {
	if why == "" {
		return more
	}
	return why + "; " + more
}
