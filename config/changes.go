package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// Changes are the keys that old says otherwise, or that only one of the two says: "streams.RISK.max_age",
// "services.desk.password". No values: some are secret.
func (c *Config) Changes(old *Config) (changed []string) {
	var walk func(at path, a, b any)
	walk = func(at path, a, b any) {
		ta, oka := table(a)
		tb, okb := table(b)
		if !oka || !okb {
			if !reflect.DeepEqual(a, b) {
				changed = append(changed, at.String())
			}
			return
		}
		keys := maps.Clone(ta)
		maps.Copy(keys, tb)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			walk(at.with(k), ta[k], tb[k])
		}
	}
	walk(nil, c.tree(), old.tree())
	return changed
}

// tree is the declaration by its keys.
func (c *Config) tree() map[string]any {
	t := map[string]any{}
	if b, err := json.Marshal(c); err == nil {
		_ = json.Unmarshal(b, &t)
	}
	return t
}

// table is a table, or a list of tables that have names.
func table(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		t := map[string]any{}
		for _, e := range v {
			m, _ := e.(map[string]any)
			name, _ := m["name"].(string)
			if name == "" {
				return nil, false
			}
			t[name] = m
		}
		return t, len(v) > 0
	}
	return nil, false
}
