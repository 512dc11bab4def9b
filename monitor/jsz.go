package monitor

import (
	"math"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// The label names of the jetstream_* series, each kind's on top of the one before.
var (
	serverLabels   = []string{"server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"}
	accountLabels  = []string{"account", "account_name", "account_id"}
	streamLabels   = []string{"stream_name", "stream_leader", "is_stream_leader", "stream_raft_group"}
	consumerLabels = []string{"consumer_name", "consumer_leader", "is_consumer_leader", "consumer_desc"}
	sourceLabels   = []string{"source_name", "source_api", "source_deliver"}
	mirrorLabels   = []string{"mirror_name", "mirror_api", "mirror_deliver"}
)

// jszWalk is one pass over a Jsz: the labels that everything below the server has.
type jszWalk struct {
	out    sink
	name   string // of this server, to tell whether it leads
	server labelPairs
}

// jsz are the jetstream_* series and ours by stream and consumer: one Jsz for all of them.
func (c *collector) jsz(out sink, s *natsserver.Server, name string) error {
	// The exporter asks for the first 1024 accounts, which is what NATS gives without a limit.
	v, err := s.Jsz(&natsserver.JSzOptions{Consumer: true, Config: true, RaftGroups: true, Limit: math.MaxInt32})
	if err != nil {
		return err
	}
	cluster, leader, isLeader := "", "", "true" // a server that stands alone leads itself
	if v.Meta != nil {
		cluster, leader, isLeader = v.Meta.Name, v.Meta.Leader, leads(v.Meta.Leader, name)
	}
	w := jszWalk{out, name, labels(serverLabels, c.serverID, name, cluster, v.Config.Domain, leader, isLeader)}
	for _, k := range serverKinds {
		out(sample{k.kind, w.server, k.of(v)})
	}
	for _, a := range v.AccountDetails {
		w.account(a)
	}
	return nil
}

func (w jszWalk) account(a *natsserver.AccountDetail) {
	l := w.server.with(accountLabels, a.Name, a.Name, a.Id)
	for _, k := range accountKinds {
		w.out(sample{k.kind, l, k.of(a)})
	}
	for i := range a.Streams {
		w.stream(l, a.Name, &a.Streams[i])
	}
}

func (w jszWalk) stream(account labelPairs, accountName string, s *natsserver.StreamDetail) {
	leader, isLeader := w.leader(s.Cluster)
	l := account.with(streamLabels, s.Name, leader, isLeader, s.RaftGroup)
	for _, k := range streamKinds {
		if v, ok := k.of(s); ok {
			w.out(sample{k.kind, l, v})
		}
	}
	w.sources(l, s)
	ours := labels(ourStreamLabels, accountName, s.Name)
	for _, k := range ourStreamKinds {
		if v, ok := k.of(s); ok {
			w.out(sample{k.kind, ours, v})
		}
	}
	for _, c := range s.Consumer {
		w.consumer(l, ours, c)
	}
}

func (w jszWalk) consumer(stream, ourStream labelPairs, c *natsserver.ConsumerInfo) {
	leader, isLeader := w.leader(c.Cluster)
	desc := ""
	if c.Config != nil {
		desc = c.Config.Description
	}
	l := stream.with(consumerLabels, c.Name, leader, isLeader, desc)
	for _, k := range consumerKinds {
		if v, ok := k.of(c); ok {
			w.out(sample{k.kind, l, v})
		}
	}
	ours := ourStream.with(ourConsumerLabel, c.Name)
	for _, k := range ourConsumerKinds {
		if v, ok := k.of(c); ok {
			w.out(sample{k.kind, ours, v})
		}
	}
}

// sources are the lag of a stream's sources and of its mirror. A stream may have one source more than once, with other
// filters: the labels do not tell them apart, so the one furthest behind speaks for them.
func (w jszWalk) sources(stream labelPairs, s *natsserver.StreamDetail) {
	behind := map[[3]string]*natsserver.StreamSourceInfo{}
	for _, src := range s.Sources {
		key := origin(src)
		if have, ok := behind[key]; !ok || src.Lag > have.Lag {
			behind[key] = src
		}
	}
	for key, src := range behind {
		l := stream.with(sourceLabels, key[:]...)
		w.out(sample{sourceLag, l, float64(src.Lag)})
		w.out(sample{sourceActive, l, float64(src.Active)})
	}
	if s.Mirror != nil {
		key := origin(s.Mirror)
		l := stream.with(mirrorLabels, key[:]...)
		w.out(sample{mirrorLag, l, float64(s.Mirror.Lag)})
		w.out(sample{mirrorActive, l, float64(s.Mirror.Active)})
	}
}

func origin(s *natsserver.StreamSourceInfo) [3]string {
	if s.External == nil {
		return [3]string{s.Name}
	}
	return [3]string{s.Name, s.External.ApiPrefix, s.External.DeliverPrefix}
}

func (w jszWalk) leader(c *natsserver.ClusterInfo) (name, isLeader string) {
	if c == nil {
		return "", "true"
	}
	return c.Leader, leads(c.Leader, w.name)
}

func leads(leader, name string) string {
	if leader == name {
		return "true"
	}
	return "false"
}
