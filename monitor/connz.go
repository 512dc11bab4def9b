package monitor

import (
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// connKinds are sums over the first 1024 open connections, as the exporter asks for them. They are counters by its
// word, although a connection that closes takes its part with it.
var connKinds = []struct {
	*kind
	of func(*natsserver.ConnInfo) float64
}{
	{gauge("gnatsd_connz_pending_bytes", "pending_bytes"), func(c *natsserver.ConnInfo) float64 { return float64(c.Pending) }},
	{gauge("gnatsd_connz_subscriptions", "subscriptions"), func(c *natsserver.ConnInfo) float64 { return float64(c.NumSubs) }},
	{counter("gnatsd_connz_in_bytes", "in_bytes"), func(c *natsserver.ConnInfo) float64 { return float64(c.InBytes) }},
	{counter("gnatsd_connz_in_msgs", "in_msgs"), func(c *natsserver.ConnInfo) float64 { return float64(c.InMsgs) }},
	{counter("gnatsd_connz_out_bytes", "out_bytes"), func(c *natsserver.ConnInfo) float64 { return float64(c.OutBytes) }},
	{counter("gnatsd_connz_out_msgs", "out_msgs"), func(c *natsserver.ConnInfo) float64 { return float64(c.OutMsgs) }},
}

// connz are the gnatsd_connz_* series: what the page says of itself, and the sums.
func (c *collector) connz(out sink, s *natsserver.Server) error {
	v, err := s.Connz(&natsserver.ConnzOptions{})
	if err != nil {
		return err
	}
	id := labels(serverIDLabel, c.serverID)
	for _, k := range connKinds {
		sum := 0.0
		for _, conn := range v.Conns {
			sum += k.of(conn)
		}
		out(sample{k.kind, id, sum})
	}
	for name, value := range map[string]int{
		"num_connections": v.NumConns, "total": v.Total, "offset": v.Offset, "limit": v.Limit,
	} {
		out(sample{c.kind("gnatsd_connz_", name), id, float64(value)})
	}
	return nil
}

var (
	healthStatus      = gauge("gnatsd_healthz_status", "status")
	healthStatusValue = gauge("gnatsd_healthz_status_value", "status")
)

// healthz are the gnatsd_healthz_* series, from what /healthz says now: 0 is healthy, and the value "ok" is 1.
func (c *collector) healthz(out sink, r Readiness) {
	status := "ok"
	if !r.Ready {
		status = unavailable("").Status
	}
	out(sample{healthStatus, labels(serverIDLabel, c.serverID), oneIf(status != "ok")})
	out(sample{healthStatusValue, labels(textValueLabel, c.serverID, status), oneIf(status == "ok")})
}
