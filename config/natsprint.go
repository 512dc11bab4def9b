package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NATSAccounts is the services of those names, all of them without names, as nats-server's configuration: what the bus
// gives to it, and what another NATS would have to be given for the same. Secrets stay references.
func (c *Config) NATSAccounts(names ...string) string {
	few := *c
	few.Services = nil
	for _, s := range c.Services {
		if len(names) == 0 || slices.Contains(names, s.Name) {
			few.Services = append(few.Services, s)
		}
	}
	nats := map[string]any{}
	own := few.accounts(nats)
	if len(few.Services) == 0 {
		return ""
	}
	own["jetstream"] = "enabled"
	return "accounts: " + printed(nats["accounts"], "") + "\n"
}

// printed is a value as nats-server's configuration writes it, for people: what is short in one line.
func printed(v any, indent string) string {
	const width = 110
	open, end, parts := "{", "}", []string{}
	deeper := indent + "  "
	switch v := v.(type) {
	case said:
		return printed(v.value, indent)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !bare(k) {
				parts = append(parts, natsQuote(k)+": "+printed(v[k], deeper))
			} else {
				parts = append(parts, k+": "+printed(v[k], deeper))
			}
		}
	case []any:
		open, end = "[", "]"
		for _, e := range v {
			parts = append(parts, printed(e, deeper))
		}
	case string:
		return natsQuote(v)
	default:
		return fmt.Sprint(v)
	}
	if one := strings.Join(parts, ", "); len(indent)+len(one) < width && !strings.Contains(one, "\n") {
		return open + " " + one + " " + end
	}
	return open + "\n" + deeper + strings.Join(parts, "\n"+deeper) + "\n" + indent + end
}
