package monitor

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// collector makes the series of prometheus-nats-exporter and ours out of one look at NATS per endpoint: one Varz, one
// Jsz with everything in it, one Connz, Subsz, AccountStatz and Healthz. All of these read memory (Healthz lists the
// store's folders); none is a JetStream API call, however many streams there are.
//
// What differs from the exporter (-varz -connz -healthz -accstatz -subz -jsz=all) on purpose:
//   - gnatsd_varz_http_port is this monitor's port, where NATS, whose own monitor is off, says 0
//   - gnatsd_varz_http_req_stats_* are there from the start and do not count scrapes, which ask nothing over HTTP
//   - gnatsd_healthz_* say what our /healthz says: unhealthy while the declared layout does not stand
//   - a source that a stream has more than once is one series, where the exporter's whole scrape fails
//   - all JetStream accounts are looked at, not only the first 1024; help texts of jetstream_* are our words
//
// Not made, as these flags are off by default: -connz_detailed, -accountz, -gatewayz, -leafz, -routez,
// -healthz_js_enabled_only, -healthz_js_server_only, -jsz_stream_meta_keys, -jsz_consumer_meta_keys.
type collector struct {
	m        *Monitor
	serverID string
	port     int
	failures failures
	descs    sync.Map // name of a walked series → *kind
}

func newCollector(m *Monitor) *collector {
	c := &collector{m: m, serverID: m.opts.ServerID, port: m.Addr().(*net.TCPAddr).Port}
	if c.serverID == "" {
		c.serverID = m.URL()
	}
	c.failures = failures{}
	for _, source := range []string{"writer", "bus", "varz", "jsz", "connz", "subsz", "accstatz", "healthz"} {
		c.failures[source] = new(atomic.Uint64)
	}
	return c
}

func (c *collector) collect(out sink) {
	var now Readiness
	c.try("bus", func() error { now = c.m.readiness(); c.bus(out, now); return nil })
	s := c.m.bus.NATS()
	if s == nil {
		return
	}
	var varz *natsserver.Varz
	c.try("varz", func() (err error) {
		if varz, err = s.Varz(nil); err != nil {
			return err
		}
		c.store(out, &varz.JetStream)
		c.certificates(out, varz)
		return c.varz(out, varz)
	})
	if varz == nil {
		return
	}
	c.try("jsz", func() error { return c.jsz(out, s, varz.Name) })
	c.try("connz", func() error { return c.connz(out, s) })
	c.try("subsz", func() error { return c.subsz(out, s) })
	c.try("accstatz", func() error { return c.accstatz(out, s) })
	c.try("healthz", func() error { c.healthz(out, now); return nil })
}

// try runs one part of a scrape. A part that fails, even by a panic in the depths of nats-server while it shuts down,
// costs its own series only.
func (c *collector) try(source string, part func() error) {
	defer func() {
		if p := recover(); p != nil {
			c.failed(source, fmt.Errorf("panic: %v", p))
		}
	}()
	if err := part(); err != nil {
		c.failed(source, err)
	}
}

func (c *collector) failed(source string, err error) {
	c.failures[source].Add(1)
	c.m.log.Warn("metrics: part of a scrape failed", "source", source, "error", err)
}

// failures counts the parts of scrapes that failed, by where they come from.
type failures map[string]*atomic.Uint64

var failed = counter("deltran_bus_scrape_failures_total", "Parts of a scrape that failed and are missing from /metrics, by where they come from.")

func (f failures) collect(out sink) {
	for source, n := range f {
		out(sample{failed, labels([]string{"source"}, source), float64(n.Load())})
	}
}
