package monitor

import (
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// counted are the endpoints that nats-server counts requests of. The exporter's own scrapes make these series appear;
// ours asks nothing over HTTP, so they are named here, at zero until somebody does ask.
var counted = []string{
	natsserver.VarzPath, natsserver.ConnzPath, natsserver.RoutezPath, natsserver.GatewayzPath, natsserver.LeafzPath,
	natsserver.SubszPath, natsserver.AccountzPath, natsserver.AccountStatzPath, natsserver.JszPath, natsserver.HealthzPath,
}

// varz are the gnatsd_varz_* series.
func (c *collector) varz(out sink, v *natsserver.Varz) error {
	for _, path := range counted {
		v.HTTPReqStats[path] += 0
	}
	v.HTTPPort = c.port // NATS's own monitor is off and says 0; this is what dashboards mean by it
	return c.walk(out, "gnatsd_varz_", v)
}

// subsz are the gnatsd_subsz_* series.
func (c *collector) subsz(out sink, s *natsserver.Server) error {
	v, err := s.Subsz(&natsserver.SubszOptions{})
	if err != nil {
		return err
	}
	return c.walk(out, "gnatsd_subsz_", v)
}

var (
	serverIDLabel  = []string{"server_id"}
	textValueLabel = []string{"server_id", "value"}
)

// walk sends every field of an endpoint's JSON as a gauge; its name is its help as well, as the exporter has it.
func (c *collector) walk(out sink, prefix string, v any) error {
	fields, err := flatten(v)
	if err != nil {
		return err
	}
	id := labels(serverIDLabel, c.serverID)
	for _, f := range fields {
		if f.isText {
			out(sample{c.kind(prefix, f.name), labels(textValueLabel, c.serverID, f.text), 1})
		} else {
			out(sample{c.kind(prefix, f.name), id, f.value})
		}
	}
	return nil
}

func (c *collector) kind(prefix, name string) *kind {
	if k, ok := c.descs.Load(prefix + name); ok {
		return k.(*kind)
	}
	k, _ := c.descs.LoadOrStore(prefix+name, gauge(prefix+name, name))
	return k.(*kind)
}
