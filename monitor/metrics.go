package monitor

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A scrape that hangs (a store directory on a dead network disk, a collector of somebody else) is answered with a 503
// after scrapeTimeout, but what it started goes on: scrapesInFlight bounds how many of those there can be.
const (
	scrapeTimeout   = 9 * time.Second // below Prometheus' own default of 10 s
	scrapesInFlight = 4
)

// newMetrics is /metrics: a registry of its own, so that nothing that a dependency registers somewhere shows up here.
func newMetrics(m *Monitor) (http.Handler, error) {
	c := newCollector(m)
	reg := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		c, c.failures,
	}, m.opts.Collectors...)
	for _, one := range all {
		if err := reg.Register(guarded{one, c}); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            promLog{m},
		ErrorHandling:       promhttp.ContinueOnError, // one bad series must not cost all the others
		MaxRequestsInFlight: scrapesInFlight,
		Timeout:             scrapeTimeout,
		// No OpenMetrics: it appends _total to counters, and gnatsd_connz_in_bytes would be gone from the dashboards.
	})), nil
}

// promLog has promhttp's errors logged: series that were left out.
type promLog struct{ m *Monitor }

func (l promLog) Println(v ...any) { l.m.log.Warn("metrics: " + fmt.Sprint(v...)) }

// guarded keeps a collector's panic to the scrape: the registry runs collectors in goroutines of their own, where a
// panic would take the whole bus down.
type guarded struct {
	prometheus.Collector
	c *collector
}

func (g guarded) Collect(ch chan<- prometheus.Metric) {
	g.c.try("collector", func() error { g.Collector.Collect(ch); return nil })
}
