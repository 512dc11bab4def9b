package monitor

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Every series of the exporter is there with its type and its labels, and under its prefixes there is nothing else.
func TestExporterSeries(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "consumer AUDIT/reader")
	var have []string
	for name, f := range scrape(t, open(t, b, Options{})) {
		for _, metric := range f.Metric {
			var names []string
			for _, l := range metric.Label {
				names = append(names, l.GetName())
			}
			slices.Sort(names)
			have = append(have, fmt.Sprintf("%s %s{%s}", strings.ToLower(f.GetType().String()), name, strings.Join(names, ",")))
		}
	}
	file, err := os.ReadFile("testdata/exporter-series.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	if len(want) < 120 {
		t.Fatalf("only %d series in testdata", len(want))
	}
	for _, w := range want {
		if !slices.Contains(have, w) {
			t.Errorf("missing: %s", w)
		}
	}
	for _, h := range have {
		_, name, _ := strings.Cut(h, " ")
		theirs := strings.HasPrefix(name, "gnatsd_") || strings.HasPrefix(name, "jetstream_")
		// What the exporter shows of these depends on what has been asked, and on what is being answered.
		moment := strings.HasPrefix(name, "gnatsd_varz_http_req_stats_") || strings.HasPrefix(name, "gnatsd_varz_jetstream_stats_api_inflight{")
		if theirs && !moment && !slices.Contains(want, h) {
			t.Errorf("the exporter has no %s", h)
		}
	}
}

// The values and label values that dashboards rely on.
func TestExporterValues(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "consumer AUDIT/reader")
	m, js := open(t, b, Options{Version: "v9"}), b.js(t)
	for range 3 {
		if _, err := js.Publish(t.Context(), "events.AUDIT.x", []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := js.Consumer(t.Context(), "AUDIT", "reader")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/varz")
	id := `server_id="` + m.URL() + `"`
	stream := `account="$G",account_id="$G",account_name="$G",cluster="",domain="",is_meta_leader="true",is_stream_leader="true",meta_leader="",` +
		id + `,server_name="test",stream_leader="test",stream_name="AUDIT",stream_raft_group=""`
	reader := `account="$G",account_id="$G",account_name="$G",cluster="",consumer_desc="",consumer_leader="",consumer_name="reader",domain="",` +
		`is_consumer_leader="true",is_meta_leader="true",is_stream_leader="true",meta_leader="",` + id +
		`,server_name="test",stream_leader="test",stream_name="AUDIT",stream_raft_group=""`
	pending := "\njetstream_consumer_num_pending{" + reader + "} 2\n"
	var r reply
	waitFor(t, pending, func() bool { // nats-server counts what is stored for a consumer a moment after it acknowledged it
		r = get(t, m.URL()+"/metrics")
		return strings.Contains(r.body, pending)
	})
	r.mustBe(t, 200,
		"\njetstream_stream_total_messages{"+stream+"} 3\n",
		"\njetstream_stream_limit_bytes{"+stream+"} 1.048576e+06\n",
		"\njetstream_stream_limit_messages{"+stream+"} -1\n",
		"\njetstream_consumer_ack_floor_stream_seq{"+reader+"} 1\n",
		"\njetstream_consumer_last_delivery_seconds{"+reader+"} ",
		"\njetstream_consumer_last_ack_seconds{"+reader+"} ",
		"\njetstream_server_max_storage{cluster=\"\",domain=\"\",is_meta_leader=\"true\",meta_leader=\"\","+id+",server_name=\"test\"} 1.073741824e+09\n",
		"\ngnatsd_accstatz_subscriptions{account=\"$G\",account_id=\"$G\",account_name=\"$G\","+id+"}",
		"\ngnatsd_varz_http_req_stats_varz{"+id+"} 1\n",
		"\ngnatsd_varz_http_req_stats_jsz{"+id+"} 0\n",
		"\ngnatsd_varz_http_port{"+id+"} "+fmt.Sprint(m.Addr().(*net.TCPAddr).Port),
		"\ngnatsd_varz_ping_interval{"+id+"} 1.2e+11\n", // nanoseconds, as in the JSON
		"\ngnatsd_varz_version{"+id+",value=\""+natsserver.VERSION+"\"} 1\n",
		"\ngnatsd_varz_server_name{"+id+",value=\"test\"} 1\n",
		"\ngnatsd_healthz_status{"+id+"} 0\n",
		"\ngnatsd_healthz_status_value{"+id+",value=\"ok\"} 1\n",
		"\ngnatsd_connz_limit{"+id+"} 1024\n",
		"\ndeltran_bus_build_info{go_version=\"go", `nats_version="`+natsserver.VERSION+`",version="v9"} 1`,
		"\ndeltran_bus_ready 1\n",
		"\ndeltran_bus_layout_missing 0\n",
		"\ndeltran_bus_store_limit_bytes 1.073741824e+09\n",
		"\ndeltran_bus_store_reserved_bytes 1.048576e+06\n",
		"\ndeltran_bus_store_disk_free_bytes ",
		"\ndeltran_bus_store_min_free_bytes 0\n",
		"\ndeltran_bus_store_refusing 0\n",
		"\ndeltran_bus_stream_last_timestamp_seconds{account=\"$G\",stream=\"AUDIT\"} 1.",
		"\ndeltran_bus_consumer_max_ack_pending{account=\"$G\",consumer=\"reader\",stream=\"AUDIT\"} 1000\n",
		"\ndeltran_bus_scrape_failures_total{source=\"jsz\"} 0\n",
	)
	start := scrape(t, m)["gnatsd_varz_start"].Metric[0].GetGauge().GetValue()
	if age := float64(time.Now().UnixMilli()) - start; age < 0 || age > 60_000 {
		t.Errorf("gnatsd_varz_start is not in milliseconds: %f", start)
	}
}

func TestServerID(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{ServerID: "edge-7"})
	get(t, m.URL()+"/metrics").mustBe(t, 200, `gnatsd_varz_cores{server_id="edge-7"}`)
}
