package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape parses /metrics as Prometheus does.
func scrape(tb testing.TB, m *Monitor) map[string]*dto.MetricFamily {
	tb.Helper()
	r := get(tb, m.URL()+"/metrics")
	r.mustBe(tb, 200)
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(r.body))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, r.body)
	}
	return families
}

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
		// What the exporter shows of http_req_stats depends on what has been asked.
		if theirs && !slices.Contains(want, h) && !strings.HasPrefix(name, "gnatsd_varz_http_req_stats_") {
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
	r := get(t, m.URL()+"/metrics")
	r.mustBe(t, 200,
		"\njetstream_stream_total_messages{"+stream+"} 3\n",
		"\njetstream_stream_limit_bytes{"+stream+"} 1.048576e+06\n",
		"\njetstream_stream_limit_messages{"+stream+"} -1\n",
		"\njetstream_consumer_num_pending{"+reader+"} 2\n",
		"\njetstream_consumer_ack_floor_stream_seq{"+reader+"} 1\n",
		"\njetstream_consumer_last_delivery_seconds{"+reader+"} ",
		"\njetstream_consumer_last_ack_seconds{"+reader+"} ",
		"\njetstream_server_max_storage{cluster=\"\",domain=\"\",is_meta_leader=\"true\",meta_leader=\"\","+id+",server_name=\"test\"} 1.073741824e+09\n",
		"\ngnatsd_accstatz_subscriptions{account=\"$G\",account_id=\"$G\",account_name=\"$G\","+id+"}",
		"\ngnatsd_varz_http_req_stats_varz{"+id+"} 1\n",
		"\ngnatsd_varz_http_req_stats_jsz{"+id+"} 0\n",
		"\ngnatsd_varz_http_port{"+id+"} "+testutilFloat(m),
		"\ngnatsd_varz_ping_interval{"+id+"} 1.2e+11\n", // nanoseconds, as in the JSON
		"\ngnatsd_varz_version{"+id+",value=\""+natsserver.VERSION+"\"} 1\n",
		"\ngnatsd_varz_server_name{"+id+",value=\"test\"} 1\n",
		fmt.Sprintf("\ngnatsd_varz_start{%s} %s", id, fmt.Sprint(time.Now().UnixMilli())[:1]), // milliseconds: 1.7…e+12
		"\ngnatsd_healthz_status{"+id+"} 0\n",
		"\ngnatsd_healthz_status_value{"+id+",value=\"ok\"} 1\n",
		"\ngnatsd_connz_limit{"+id+"} 1024\n",
		"\ndeltran_bus_build_info{go_version=\"go", `nats_version="`+natsserver.VERSION+`",version="v9"} 1`,
		"\ndeltran_bus_ready 1\n",
		"\ndeltran_bus_layout_missing 0\n",
		"\ndeltran_bus_store_limit_bytes 1.073741824e+09\n",
		"\ndeltran_bus_store_reserved_bytes 1.048576e+06\n",
		"\ndeltran_bus_store_disk_free_bytes ",
		"\ndeltran_bus_stream_last_timestamp_seconds{account=\"$G\",stream=\"AUDIT\"} 1.",
		"\ndeltran_bus_consumer_max_ack_pending{account=\"$G\",consumer=\"reader\",stream=\"AUDIT\"} 1000\n",
		"\ndeltran_bus_scrape_failures_total{source=\"jsz\"} 0\n",
	)
	start := scrape(t, m)["gnatsd_varz_start"].Metric[0].GetGauge().GetValue()
	if age := float64(time.Now().UnixMilli()) - start; age < 0 || age > 60_000 {
		t.Errorf("gnatsd_varz_start is not in milliseconds: %f", start)
	}
}

func testutilFloat(m *Monitor) string {
	return fmt.Sprint(newCollector(m).port)
}

func TestServerID(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{ServerID: "edge-7"})
	get(t, m.URL()+"/metrics").mustBe(t, 200, `gnatsd_varz_cores{server_id="edge-7"}`)
}

// Our own names pass promtool's lint, in every phase.
func TestLint(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "consumer AUDIT/reader")
	m := open(t, b, Options{})
	reg := prometheus.NewRegistry()
	c := newCollector(m)
	reg.MustRegister(c, c.failures)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "deltran_bus_") {
			ours = append(ours, f.GetName())
		}
	}
	if len(ours) < 15 {
		t.Errorf("ours are only %q", ours)
	}
	problems, err := testutil.GatherAndLint(reg, ours...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A scrape costs no JetStream API call, whoever is listening.
func TestScrapeCallsNoAPI(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "consumer AUDIT/reader")
	m := open(t, b, Options{})
	total := func() uint64 {
		v, err := b.NATS().Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.JetStream.Stats.API.Total
	}
	before := total()
	if before == 0 {
		t.Fatal("the calls of this test are not counted")
	}
	for _, p := range []string{"/metrics", "/readyz", "/healthz", "/jsz?consumers=1", "/", "/metrics"} {
		get(t, m.URL()+p).mustBe(t, 200)
	}
	if after := total(); after != before {
		t.Errorf("%d JetStream API calls", after-before)
	}
}

// Whatever a client writes into a name or a description, the text stays parseable and the other series stay.
func TestHostileLabels(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"a\nb", `quote " and \ backslash`, "bad \xff\xfe utf8", "\x00", "}{,=#", strings.Repeat("x", 4000), "\u2028 \U0001F4B8"} {
		l := labels([]string{"b", "a"}, v, "1")
		if *l[0].Name != "a" || *l[1].Name != "b" || !model.LabelValue(*l[1].Value).IsValid() {
			t.Errorf("%q becomes %v", v, l)
		}
	}
	b := serving(t, "stream AUDIT")
	desc := "first\nsecond \"quoted\" \\ {x=\"1\"} 7\n# TYPE x counter"
	_, err := b.js(t).CreateConsumer(t.Context(), "AUDIT", jetstream.ConsumerConfig{Durable: "reader", Description: desc})
	if err != nil {
		t.Fatal(err)
	}
	f := scrape(t, open(t, b, Options{}))["jetstream_consumer_num_pending"]
	for _, l := range f.Metric[0].Label {
		if l.GetName() == "consumer_desc" && l.GetValue() != desc {
			t.Errorf("%q became %q", desc, l.GetValue())
		}
	}
}

// One source twice, with other filters, is legal in JetStream; as two equal series it would cost the whole scrape.
func TestSourcesAndMirror(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT")
	for _, c := range []jetstream.StreamConfig{
		{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: "AUDIT", FilterSubject: "events.AUDIT.a"}, {Name: "AUDIT", FilterSubject: "events.AUDIT.b"}}},
		{Name: "MIRROR", Mirror: &jetstream.StreamSource{Name: "AUDIT"}},
	} {
		if _, err := b.js(t).CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	f := scrape(t, open(t, b, Options{}))
	for _, name := range []string{"jetstream_stream_source_lag", "jetstream_stream_source_active_duration_ns", "jetstream_stream_mirror_lag", "jetstream_stream_mirror_active_duration_ns"} {
		if n := len(f[name].GetMetric()); n != 1 {
			t.Errorf("%s: %d series", name, n)
		}
	}
}

// Scrapes at once, while streams come and go.
func TestConcurrentScrapes(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT")
	m, js := open(t, b, Options{}), b.js(t)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for range 10 {
				if r := get(t, m.URL()+"/metrics"); r.code != 200 || !strings.Contains(r.body, "gnatsd_varz_cores") {
					t.Errorf("%d: %.200s", r.code, r.body)
				}
			}
		})
		wg.Go(func() {
			for j := range 5 {
				name := fmt.Sprintf("S%d_%d", i, j)
				b.create(t, js, "stream "+name)
				b.create(t, js, "consumer "+name+"/c")
				if err := js.DeleteStream(t.Context(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if v := failures(t, m); v != 0 {
		t.Errorf("%v parts of scrapes failed", v)
	}
}

func failures(t *testing.T, m *Monitor) (sum float64) {
	t.Helper()
	for _, metric := range scrape(t, m)["deltran_bus_scrape_failures_total"].Metric {
		sum += metric.GetCounter().GetValue()
	}
	return sum
}

// evil is a collector that does what a test wants.
type evil func(chan<- prometheus.Metric)

func (evil) Describe(chan<- *prometheus.Desc)      {}
func (e evil) Collect(ch chan<- prometheus.Metric) { e(ch) }

// A panic costs its own series, not the bus.
func TestPanicInCollector(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{Collectors: []prometheus.Collector{evil(func(chan<- prometheus.Metric) { panic("no") })}})
	get(t, m.URL()+"/metrics").mustBe(t, 200, "gnatsd_varz_cores")
	get(t, m.URL()+"/metrics").mustBe(t, 200, `deltran_bus_scrape_failures_total{source="collector"}`)
	if failures(t, m) == 0 {
		t.Error("the panic is not counted")
	}
	c := newCollector(m)
	c.try("varz", func() error { return errors.New("no") })
	if v := testutil.ToFloat64(c.failures.WithLabelValues("varz")); v != 1 {
		t.Errorf("failures %v", v)
	}
}

// Scrapes that hang are bounded: the next one is told so at once, and all other endpoints answer.
func TestHungScrapes(t *testing.T) {
	t.Parallel()
	release, hung := make(chan struct{}), make(chan struct{}, 2*scrapesInFlight)
	m, err := Open("127.0.0.1:0", serving(t), Options{Collectors: []prometheus.Collector{evil(func(chan<- prometheus.Metric) {
		hung <- struct{}{}
		<-release
	})}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range scrapesInFlight {
		wg.Go(func() {
			if resp, err := client.Get(m.URL() + "/metrics"); err == nil {
				t.Errorf("a hung scrape was answered: %d", resp.StatusCode)
				resp.Body.Close()
			}
		})
	}
	for range scrapesInFlight {
		<-hung
	}
	get(t, m.URL()+"/metrics").mustBe(t, 503)
	get(t, m.URL()+"/readyz").mustBe(t, 200)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close with scrapes under way: %v", err)
	}
	close(release)
	wg.Wait()
}

func benchScrape(b *testing.B, streams int) {
	bus := serving(b)
	js := bus.js(b)
	for i := range streams {
		name := fmt.Sprintf("S%04d", i)
		_, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}, Storage: jetstream.MemoryStorage})
		if err != nil {
			b.Fatal(err)
		}
		bus.create(b, js, "consumer "+name+"/c")
	}
	m := open(b, bus, Options{})
	b.Run("collect", func(b *testing.B) {
		b.ReportAllocs()
		c := newCollector(m)
		for b.Loop() {
			ch := make(chan prometheus.Metric, 1000)
			go func() { c.Collect(ch); close(ch) }()
			for range ch {
			}
		}
	})
	b.Run("http", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Get(m.URL() + "/metrics")
			if err != nil {
				b.Fatal(err)
			}
			n, _ := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			b.ReportMetric(float64(n), "bytes/scrape")
		}
	})
	b.Run("readyz", func(b *testing.B) {
		for b.Loop() {
			_ = m.readiness()
		}
	})
}

func BenchmarkScrape8(b *testing.B)    { benchScrape(b, 8) }
func BenchmarkScrape1000(b *testing.B) { benchScrape(b, 1000) }
