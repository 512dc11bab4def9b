package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
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

// Our own names pass promtool's lint, in every phase.
func TestLint(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "consumer AUDIT/reader")
	m := open(t, b, Options{})
	families := scrape(t, m)
	var ours []string
	var lint []*dto.MetricFamily
	for name, f := range families {
		if strings.HasPrefix(name, "deltran_bus_") {
			ours, lint = append(ours, name), append(lint, f)
		}
	}
	if len(ours) < 15 {
		t.Errorf("ours are only %q", ours)
	}
	problems, err := promlint.NewWithMetricFamilies(lint).Lint()
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
		text, err := families{"x": {{gauge("x", v), labels([]string{"a", "b"}, v, "1"), 7}}}.write(nil)
		if err != nil {
			t.Fatal(err)
		}
		p := expfmt.NewTextParser(model.LegacyValidation)
		f, err := p.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%q: %v in %s", v, err, text)
			continue
		}
		m, want := f["x"].Metric[0], strings.ToValidUTF8(v, "\uFFFD")
		if len(m.Label) != 2 || m.Label[0].GetValue() != want || m.Label[1].GetValue() != "1" || m.GetGauge().GetValue() != 7 {
			t.Errorf("%q becomes %v", v, m)
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
	for _, subject := range []string{"events.AUDIT.a", "events.AUDIT.b"} {
		if _, err := b.js(t).Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Until every source has delivered, nats-server has goroutines that outlive its Shutdown.
	waitFor(t, "copied", func() bool {
		v, err := b.NATS().Jsz(&natsserver.JSzOptions{})
		return err == nil && v.Messages == 6
	})
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
	if v := failuresOf(t, m); v != 0 {
		t.Errorf("%v parts of scrapes failed", v)
	}
}

func failuresOf(t *testing.T, m *Monitor) (sum float64) {
	t.Helper()
	for _, metric := range scrape(t, m)["deltran_bus_scrape_failures_total"].Metric {
		sum += metric.GetCounter().GetValue()
	}
	return sum
}

// A panic costs its own series, not the bus.
func TestPanicInWriter(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{Metrics: []func(io.Writer){func(w io.Writer) { io.WriteString(w, "half "); panic("no") }}})
	get(t, m.URL()+"/metrics").mustBe(t, 200, "gnatsd_varz_cores")
	get(t, m.URL()+"/metrics").mustBe(t, 200, `deltran_bus_scrape_failures_total{source="writer"}`)
	if failuresOf(t, m) == 0 {
		t.Error("the panic is not counted")
	}
	c := newCollector(m)
	c.try("varz", func() error { return errors.New("no") })
	if v := c.failures["varz"].Load(); v != 1 {
		t.Errorf("failures %v", v)
	}
}

// Scrapes that hang are bounded: the next one is told so at once, and all other endpoints answer.
func TestHungScrapes(t *testing.T) {
	t.Parallel()
	release, hung := make(chan struct{}), make(chan struct{}, 2*scrapesInFlight)
	m, err := Open("127.0.0.1:0", serving(t), Options{Metrics: []func(io.Writer){func(io.Writer) {
		hung <- struct{}{}
		<-release
	}}})
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
