package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// config is a stream's configuration with every field that a NATS gave it, also those that nobody here knows.
type config map[string]any

func parseConfig(b []byte) (config, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var c config
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}

func (c config) text(key string) string { s, _ := c[key].(string); return s }

func (c config) number(key string) int64 {
	n, _ := c[key].(json.Number)
	i, _ := n.Int64()
	return i
}

func (c config) yes(key string) bool { b, _ := c[key].(bool); return b }

func (c config) subjects() (out []string) {
	list, _ := c["subjects"].([]any)
	for _, s := range list {
		out = append(out, fmt.Sprint(s))
	}
	return out
}

func (c config) with(changes map[string]any) config {
	out := maps.Clone(c)
	maps.Copy(out, changes)
	return out
}

// note returns c with a remark in its metadata, or without it if it is empty.
func (c config) note(key, value string) config {
	md := map[string]any{}
	if have, ok := c["metadata"].(map[string]any); ok {
		md = maps.Clone(have)
	}
	if md[key] = value; value == "" {
		delete(md, key)
	}
	out := c.with(map[string]any{"metadata": md})
	if len(md) == 0 {
		delete(out, "metadata")
	}
	return out
}

func (c config) noted(key string) string {
	md, _ := c["metadata"].(map[string]any)
	s, _ := md[key].(string)
	return s
}

// Remarks in the metadata of streams that a restore has under its hands; a killed one leaves them.
const (
	notedParked    = "deltran-bus.parked"    // the subjects of a stream that takes no publishes while it is being replaced
	notedRestoring = "deltran-bus.restoring" // a stream in memory that is not whole yet
)

// parked is c without its subjects, which it remembers, and ok false if there is nothing to take from it: a mirror or a
// sealed stream takes no publishes.
func (c config) parked() (out config, ok bool) {
	subjects := c.subjects()
	if len(subjects) == 0 || c.yes("sealed") || c.noted(notedParked) != "" {
		return c, false
	}
	b, _ := json.Marshal(subjects)
	return c.note(notedParked, string(b)).with(map[string]any{"subjects": []string{"deltran-bus.parked." + c.text("name")}}), true
}

// unparked takes parked back.
func (c config) unparked() config {
	was := c.noted(notedParked)
	if was == "" {
		return c
	}
	var subjects []any
	_ = json.Unmarshal([]byte(was), &subjects)
	return c.note(notedParked, "").with(map[string]any{"subjects": subjects})
}

// plain is a configuration under which a throwaway nats-server keeps everything that it is given as it is: nothing
// expires, is fetched from elsewhere, or comes due.
func (c config) plain(name string) config {
	p := config{"name": name, "storage": "file", "retention": "limits", "num_replicas": 1}
	if v := c.text("compression"); v != "" {
		p["compression"] = v
	}
	return p
}

// copies is how many streams it copies from, which had better stand first.
func (c config) copies() int {
	sources, _ := c["sources"].([]any)
	if c["mirror"] != nil {
		return len(sources) + 1
	}
	return len(sources)
}

// collide returns a subject of each that overlap, empty if none do.
func collide(a, b []string) (of, with string) {
	for _, x := range a {
		for _, y := range b {
			if natsserver.SubjectsCollide(x, y) {
				return x, y
			}
		}
	}
	return "", ""
}

// aged is c so that nothing expires on arrival: where its max_age would take the oldest message now, the time between the
// backup and now does not count. It returns what max_age was and is, or zeros if it stays.
func (c config) aged(now, moment, oldest time.Time) (out config, from, to time.Duration) {
	limit := time.Duration(c.number("max_age"))
	if limit <= 0 || oldest.IsZero() || oldest.Add(limit).After(now.Add(time.Minute)) {
		return c, 0, 0
	}
	longer := max(limit+now.Sub(moment), now.Sub(oldest)+time.Minute).Truncate(time.Minute) + time.Minute
	return c.with(map[string]any{"max_age": longer.Nanoseconds()}), limit, longer
}

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
