package bootstrap

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// fieldsOf is a config as JetStream's JSON: every field by its API name, numbers as json.Number. Differences are looked
// for here, so that a field that a later nats.go adds is compared without a line of ours.
func fieldsOf(cfg any) map[string]any {
	b, err := json.Marshal(cfg)
	if err != nil {
		return nil // an enumeration out of range, which neither TOML nor a server can say
	}
	return object(b)
}

func object(b []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	m := map[string]any{}
	_ = d.Decode(&m) // what is no object has no fields
	return m
}

// fill is the way back from fieldsOf.
func fill(cfg any, m map[string]any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, cfg)
}

// differing names the fields in which two configs differ, sorted.
func differing(have, want map[string]any) (names []string) {
	for k, v := range have {
		if !equal(v, want[k]) {
			names = append(names, k)
		}
	}
	for k, v := range want {
		if _, both := have[k]; !both && v != nil {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// keepUnknown adds to an update what the server has and nats.go cannot say, also within objects, since an update
// replaces everything. raw is the config as it came, known what nats.go makes of it. A known field that is missing in
// known is missing because it is zero there, so to add it changes nothing.
func keepUnknown(update, raw, known map[string]any) {
	for k, v := range raw {
		was, isKnown := known[k]
		to, updated := update[k]
		switch v := v.(type) {
		case map[string]any:
			was, ok1 := was.(map[string]any)
			to, ok2 := to.(map[string]any)
			if ok1 && ok2 {
				keepUnknown(to, v, was)
				continue
			}
		case []any:
			was, ok1 := was.([]any)
			to, ok2 := to.([]any)
			if ok1 && ok2 {
				keepUnknownIn(to, v, was)
				continue
			}
		}
		if !isKnown && !updated {
			update[k] = clone(v)
		}
	}
}

// keepUnknownIn does the same for lists of objects that have a name, such as sources; those of an equal name are one.
func keepUnknownIn(update, raw, known []any) {
	if len(raw) != len(known) {
		return
	}
	for i := range raw {
		r, ok1 := raw[i].(map[string]any)
		k, ok2 := known[i].(map[string]any)
		if !ok1 || !ok2 || r["name"] == nil {
			continue
		}
		for _, u := range update {
			if u, ok := u.(map[string]any); ok && u["name"] == r["name"] && equal(u["filter_subject"], r["filter_subject"]) {
				keepUnknown(u, r, k)
			}
		}
	}
}

func clone(v any) any {
	if m, ok := v.(map[string]any); ok {
		m = maps.Clone(m)
		for k := range m {
			m[k] = clone(m[k])
		}
		return m
	}
	return v
}
