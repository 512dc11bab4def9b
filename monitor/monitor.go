// Package monitor is the HTTP side of the bus: NATS's own monitoring endpoints, the probes and the metrics.
//
//	/livez     200 as long as the process answers; for liveness probes
//	/readyz    200 only when the declared layout stands and clients can connect; the body is a [Readiness]
//	/healthz   NATS's answer and parameters; 503 while the layout does not stand
//	/metrics   Prometheus text: the series of prometheus-nats-exporter, ours as deltran_bus_*, go_* and process_*
//	/varz …    every endpoint of nats-server's monitor with its parameters and JSON
//
// It reads and never writes, and nothing it does is a JetStream API call. Without a token, whoever reaches the address can
// read names, subjects and counts (never messages): then listen on loopback, or behind something that asks.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/audit"
	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// ErrNoAddress is returned by Open for an empty address, which net.Listen would take as a random port on every interface.
var ErrNoAddress = errors.New("no address to listen on")

// Bus is what a monitor reads; *server.Server is one. Every method MUST be safe for concurrent use and quick: probes
// call them every few seconds, a scrape once.
type Bus interface {
	State() server.State       // how far the bus is
	NATS() *natsserver.Server  // nil until there is one
	Missing() []string         // what is declared and not there now: "stream AUDIT", "consumer REPORTING/reader"
	Scrub() integrity.Progress // how far the store has been read again
}

// Options are what a monitor can be told. The zero value is the secure one.
type Options struct {
	Version     string                // of the bus, for the index page and deltran_bus_build_info
	Debug       bool                  // also serve /stacksz, /debug/vars and /debug/pprof/
	AllowOrigin string                // the Access-Control-Allow-Origin of every answer; empty: no such header
	ServerID    string                // label server_id of the exporter's series; empty: URL(), as the exporter does
	Access      Access                // TLS, and the token that who asks has to send
	OpenProbes  bool                  // answer /livez, /readyz and /healthz without the token, by their code alone
	Logger      *slog.Logger          // empty: nothing is logged
	Metrics     []func(io.Writer)     // write series of somebody else's, as Prometheus' text, below ours at /metrics
	Backup      func() *backup.Status // how the schedule of backups stands; nil, or nothing from it: there is none

	Refused     func(address, reason string) // is told of whom it does not answer; it must not wait; nil: nobody is
	Audit       func() *audit.Status         // how it stands; nil, or nothing from it: nothing is recorded
	DeadLetters func() *deadletter.Status    // how they stand; nil, or nothing from it: none are made
}

// Limits of one HTTP exchange. They bound what a slow or hostile client can hold, not what an answer may contain.
const (
	headerTimeout  = 5 * time.Second  // for the request's head, as nats-server's monitor has it
	writeTimeout   = 30 * time.Second // for the answer; pprof adds the seconds it was asked to sample
	idleTimeout    = 2 * time.Minute  // between two requests of a connection
	maxHeaderBytes = 64 << 10
)

// Monitor serves one bus over HTTP.
type Monitor struct {
	bus    Bus
	opts   Options
	log    *slog.Logger
	ln     net.Listener
	http   *http.Server
	fresh  fresh
	guard  guard
	served chan struct{} // closed when Serve has returned

	close    sync.Once
	closeErr error
}

// Open binds addr (host:port; port 0 picks one) and serves at once, before the bus is open, so that a probe can say what
// it waits for. An address that cannot be bound is the returned error, which names it.
func Open(addr string, bus Bus, o Options) (*Monitor, error) {
	if addr == "" {
		return nil, fmt.Errorf("monitor: %w", ErrNoAddress)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("monitor: listen on %s: %w", addr, server.ListenError(err))
	}
	m := &Monitor{bus: bus, opts: o, log: o.Logger, ln: ln, served: make(chan struct{})}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.guard.open, m.guard.refused = o.OpenProbes, o.Refused
	if o.Refused == nil {
		m.guard.refused = func(string, string) {}
	}
	m.guard.use(o.Access)
	m.http = &http.Server{
		Handler:           newRoutes(m, newMetrics(m)),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         m.fresh.watch,
		ErrorLog:          log.New(errorLog{m}, "", 0),

		DisableGeneralOptionsHandler: true, // OPTIONS * is a method like any other: refused
	}
	go func() {
		defer close(m.served)
		if err := m.http.Serve(m.guard.listener(ln)); !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("monitor stopped", "addr", addr, "error", err)
		}
	}()
	return m, nil
}

// Addr is the address that was bound.
func (m *Monitor) Addr() net.Addr { return m.ln.Addr() }

// URL is where this machine reaches the monitor, such as http://127.0.0.1:8222, or https where it has TLS. A monitor on every interface is named
// by its loopback address.
func (m *Monitor) URL() string {
	a := m.ln.Addr().(*net.TCPAddr)
	host := a.IP.String()
	if a.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if m.guard.now.Load().tls != nil {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, fmt.Sprint(a.Port))
}

// Close stops in this order; every call after the first returns what the first one did.
//  1. connections that have not sent a request yet, and those that still come
//  2. the listener
//  3. answers under way are waited for until ctx is done, then cut off; that ctx's error is returned
func (m *Monitor) Close(ctx context.Context) error {
	m.close.Do(func() {
		m.fresh.closeAll()
		err := m.http.Shutdown(ctx)
		if err != nil {
			err = errors.Join(fmt.Errorf("monitor: %w", err), m.http.Close())
		}
		<-m.served
		m.closeErr = err
	})
	return m.closeErr
}
