package monitor

import (
	"encoding/json"
	"strings"
	"time"
)

// field is one value of an endpoint's JSON, under the name that prometheus-nats-exporter gives it.
type field struct {
	name   string // the path of keys, joined by _
	value  float64
	text   string // for a string that is not a time; value is then 1
	isText bool
}

// texts are the keys whose strings become series: a time as its epoch milliseconds, any other as the label value.
// Every other string, and all lists and booleans, are left out.
var texts = map[string]bool{
	"server_id": true, "server_name": true, "version": true, "domain": true,
	"leader": true, "name": true, "start": true, "config_load_time": true,
}

// skipped are what the exporter leaves out of Varz: configuration that says nothing without the rest of it.
var skipped = map[string]bool{
	"leaf": true, "trusted_operators_claim": true,
	"cluster_tls_timeout": true, "cluster_cluster_port": true, "cluster_auth_timeout": true,
	"gateway_port": true, "gateway_auth_timeout": true, "gateway_tls_timeout": true, "gateway_connect_retries": true,
}

// flatten walks v, one of NATS's monitoring structs, by its JSON, so that what a new nats-server adds becomes a series
// without anybody typing its name.
func flatten(v any) ([]field, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		return nil, err
	}
	return walk(nil, "", tree), nil
}

func walk(out []field, prefix string, tree map[string]any) []field {
	for key, v := range tree {
		name := seriesName(prefix + "_" + key)
		if skipped[name] {
			continue
		}
		switch v := v.(type) {
		case map[string]any:
			out = walk(out, name, v)
		case float64:
			out = append(out, field{name: name, value: v})
		case string:
			if !texts[key] {
				continue
			}
			if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
				out = append(out, field{name: name, value: float64(t.UnixMilli())})
			} else {
				out = append(out, field{name: name, value: 1, text: v, isText: true})
			}
		}
	}
	return out
}

// seriesName makes a path of JSON keys a metric name: "http_req_stats_/varz" is http_req_stats_varz.
func seriesName(path string) string {
	parts := strings.FieldsFunc(path, func(r rune) bool {
		return r != ':' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	return strings.Join(parts, "_")
}
