package monitor

import (
	"net/http"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// natsHandler is a method of nats-server that serves one of its endpoints.
type natsHandler func(*natsserver.Server, http.ResponseWriter, *http.Request)

// natsRoutes are the endpoints of nats-server's own monitor (startMonitoring in its server.go) with its parameters and
// its JSON. Not here: / and /healthz, which are ours, and what only Debug serves.
func (m *Monitor) natsRoutes() []route {
	return []route{
		m.nats(natsserver.VarzPath, "the server: configuration, traffic, resources", (*natsserver.Server).HandleVarz),
		m.nats(natsserver.JszPath, "JetStream: accounts, streams, consumers", (*natsserver.Server).HandleJsz),
		m.nats(natsserver.ConnzPath, "client connections", (*natsserver.Server).HandleConnz),
		m.nats(natsserver.AccountzPath, "accounts", (*natsserver.Server).HandleAccountz),
		m.nats(natsserver.AccountStatzPath, "traffic by account", (*natsserver.Server).HandleAccountStatz),
		m.nats(natsserver.SubszPath, "subscriptions", (*natsserver.Server).HandleSubsz),
		m.nats("/subscriptionsz", "subscriptions, by their old name", (*natsserver.Server).HandleSubsz),
		m.nats(natsserver.RoutezPath, "routes to other servers of the cluster", (*natsserver.Server).HandleRoutez),
		m.nats(natsserver.GatewayzPath, "gateways to other clusters", (*natsserver.Server).HandleGatewayz),
		m.nats(natsserver.LeafzPath, "leaf nodes", (*natsserver.Server).HandleLeafz),
		m.nats(natsserver.RaftzPath, "raft groups", (*natsserver.Server).HandleRaftz),
		m.nats(natsserver.IPQueuesPath, "internal queues", (*natsserver.Server).HandleIPQueuesz),
	}
}

func (m *Monitor) nats(path, what string, h natsHandler) route {
	return route{path, what, func(w http.ResponseWriter, r *http.Request) {
		s := m.bus.NATS()
		if s == nil {
			m.noNATS(w)
			return
		}
		h(s, w, r)
	}}
}

// noNATS answers for an endpoint of NATS while there is no NATS yet.
func (m *Monitor) noNATS(w http.ResponseWriter) {
	st := m.bus.State()
	body := struct {
		natsserver.HealthStatus
		Phase string `json:"phase"`
	}{unavailable("NATS is not up yet: the bus is " + string(st.Phase)), string(st.Phase)}
	if st.Err != nil {
		body.Error = st.Err.Error()
	}
	writeJSON(w, http.StatusServiceUnavailable, body)
}
