package monitor

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// A scrape that hangs (a store directory on a dead network disk, a writer of somebody else) is answered with a 503
// after scrapeTimeout, but what it started goes on: scrapesInFlight bounds how many of those there can be.
const (
	scrapeTimeout   = 9 * time.Second // below Prometheus' own default of 10 s
	scrapesInFlight = 4
)

// newMetrics is /metrics, in Prometheus' text format 0.0.4. No OpenMetrics: it wants _total on every counter, and
// gnatsd_connz_in_bytes would be gone from the dashboards.
func newMetrics(m *Monitor) http.Handler {
	c := newCollector(m)
	slots := make(chan struct{}, scrapesInFlight)
	return http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, "too many scrapes are under way", http.StatusServiceUnavailable)
			return
		}
		text := c.text()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = w.Write(text)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(text)
		_ = z.Close()
	}), scrapeTimeout, "the scrape took too long\n")
}

// text is one scrape.
func (c *collector) text() []byte {
	f := families{}
	c.collect(f.add)
	var rest bytes.Buffer
	for _, write := range append([]func(io.Writer){metrics.WriteProcessMetrics}, c.m.opts.Metrics...) {
		one := bytes.Buffer{} // half of what a writer wrote before it failed must not cost the others
		c.try("writer", func() error { write(&one); _, err := one.WriteTo(&rest); return err })
	}
	c.failures.collect(f.add)
	b, err := f.write(nil)
	if err != nil {
		c.m.log.Warn("metrics: a series was left out", "error", err)
	}
	return append(b, rest.Bytes()...)
}
