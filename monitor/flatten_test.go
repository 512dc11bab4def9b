package monitor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestFlatten(t *testing.T) {
	t.Parallel()
	fields, err := flatten(map[string]any{
		"cpu": 1.5, "server_name": "a\nb", "host": "left out", "auth_required": true, "connect_urls": []string{"x"}, "nothing": nil,
		"start": "2026-01-02T03:04:05.678Z", "now": "2026-01-02T03:04:05Z",
		"http_req_stats": map[string]any{"/": 7, "/varz": 2, "/debug/vars": 3},
		"leaf":           map[string]any{"port": 1},
		"leafnodes":      4,
		"cluster":        map[string]any{"name": "east", "cluster_port": 6222, "tls_timeout": 2, "pool_size": 3},
		"jetstream":      map[string]any{"meta": map[string]any{"leader": "", "cluster_size": 3}},
		"metadata":       map[string]any{"na me": 1, "name": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, f := range fields {
		have = append(have, fmt.Sprintf("%s %v %q", f.name, f.value, f.text))
	}
	slices.Sort(have)
	want := []string{
		`cluster_name 1 "east"`, `cluster_pool_size 3 ""`, `cpu 1.5 ""`,
		`http_req_stats 7 ""`, `http_req_stats_debug_vars 3 ""`, `http_req_stats_varz 2 ""`,
		`jetstream_meta_cluster_size 3 ""`, `jetstream_meta_leader 1 ""`, `leafnodes 4 ""`,
		`metadata_na_me 1 ""`, `metadata_name 1 "x"`,
		`server_name 1 "a\nb"`, `start 1.767323045678e+12 ""`,
	}
	if h, w := strings.Join(have, "\n"), strings.Join(want, "\n"); h != w {
		t.Errorf("have\n%s\nwant\n%s", h, w)
	}
	if _, err := flatten(func() {}); err == nil {
		t.Error("a func has no JSON")
	}
}
