package monitor

import (
	natsserver "github.com/nats-io/nats-server/v2/server"
)

var accountStatLabels = []string{"server_id", "account", "account_id", "account_name"}

var accountStatKinds = []struct {
	name string
	of   func(*natsserver.AccountStat) float64
}{
	{"current_connections", func(a *natsserver.AccountStat) float64 { return float64(a.Conns) }},
	{"total_connections", func(a *natsserver.AccountStat) float64 { return float64(a.TotalConns) }},
	{"subscriptions", func(a *natsserver.AccountStat) float64 { return float64(a.NumSubs) }},
	{"leaf_nodes", func(a *natsserver.AccountStat) float64 { return float64(a.LeafNodes) }},
	{"sent_messages", func(a *natsserver.AccountStat) float64 { return float64(a.Sent.Msgs) }},
	{"sent_bytes", func(a *natsserver.AccountStat) float64 { return float64(a.Sent.Bytes) }},
	{"received_messages", func(a *natsserver.AccountStat) float64 { return float64(a.Received.Msgs) }},
	{"received_bytes", func(a *natsserver.AccountStat) float64 { return float64(a.Received.Bytes) }},
	{"slow_consumers", func(a *natsserver.AccountStat) float64 { return float64(a.SlowConsumers) }},
}

// accstatz are the gnatsd_accstatz_* series, for every account, used or not.
func (c *collector) accstatz(out sink, s *natsserver.Server) error {
	v, err := s.AccountStatz(&natsserver.AccountStatzOptions{IncludeUnused: true})
	if err != nil {
		return err
	}
	for _, a := range v.Accounts {
		l := labels(accountStatLabels, c.serverID, a.Account, a.Account, a.Name)
		for _, k := range accountStatKinds {
			out(sample{c.kind("gnatsd_accstatz_", k.name), l, k.of(a)})
		}
	}
	return nil
}
