package backup

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// cluster is three stock nats-servers, and a client of the first.
func cluster(t *testing.T) *bus {
	t.Helper()
	var routes []*url.URL
	var all []*natsserver.Server
	for range 3 { // routes have to name ports before anybody listens: those that were free a moment ago
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		o := &natsserver.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 30,
			Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port(t, routes[i])}, Routes: routes,
		}
		s, err := natsserver.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	b := &bus{t: t, opts: &natsserver.Options{}, srv: all[0]}
	until(t, "a leader", func() bool {
		return slices.ContainsFunc(all, func(s *natsserver.Server) bool { return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 3 })
	})
	until(t, "the port", func() bool { return all[0].ReadyForConnections(time.Second) })
	b.dial(all[0].ClientURL())
	t.Cleanup(b.nc.Close)
	return b
}

func port(t *testing.T, u *url.URL) int {
	t.Helper()
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A cluster is backed up and restored as a single node is; what it kept three times it keeps three times again.
func TestCluster(t *testing.T) {
	t.Parallel()
	b := cluster(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}, Replicas: 3})
	b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"B.>"}, Replicas: 1})
	b.publish("A.x", 0, 50)
	b.publish("B.x", 0, 20)
	file := b.archive()
	if _, err := VerifyDeep(t.Context(), file, VerifyOptions{Temp: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	before, configs := b.dumps(), b.configs()

	single := newBus(t)
	r := single.restore(file, RestoreOptions{})
	if d := cmp.Diff(before, single.dumps()); d != "" {
		t.Error(d)
	}
	if want := "num_replicas 3 → 1: this NATS is a single node"; !slices.Equal(r.Streams[0].Remarks, []string{want}) {
		t.Errorf("%+v", r.Streams)
	}

	b.publish("A.x", 100, 5)
	b.restore(file, RestoreOptions{Replace: true})
	until(t, "the replicas are in step", func() bool { return cmp.Equal(before, b.dumps()) })
	if d := cmp.Diff(configs, b.configs()); d != "" {
		t.Error(d)
	}
	b.publish("A.x", 200, 5)
}
