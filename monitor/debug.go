package monitor

import (
	"expvar"
	"net/http"
	"net/http/pprof"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const pprofPath = "/debug/pprof/"

// debugRoutes tell about the process, its command line and its memory; only Options.Debug brings them. A profile may
// take longer than writeTimeout: pprof extends the deadline by the seconds it was asked for.
func (m *Monitor) debugRoutes() []route {
	return []route{
		m.nats(natsserver.StackszPath, "stacks of all goroutines", (*natsserver.Server).HandleStacksz),
		{natsserver.ExpvarzPath, "expvar", expvar.Handler().ServeHTTP},
		{pprofPath, "pprof", pprof.Index},
		{pprofPath + "cmdline", "the command line", pprof.Cmdline},
		{pprofPath + "profile", "CPU profile, ?seconds=30", pprof.Profile},
		{pprofPath + "symbol", "symbols, ?0xADDRESS", pprof.Symbol},
		{pprofPath + "trace", "execution trace, ?seconds=1", http.HandlerFunc(pprof.Trace)},
	}
}
