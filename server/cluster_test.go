package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
)

// Three nodes with the same declaration become one NATS cluster with one layout, whoever comes first.
func TestCluster(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 3)
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("\"nats://127.0.0.1:%d\"", p))
	}
	nodes := make([]*server.Server, 3)
	errs := make(chan error, 3)
	for i := range nodes {
		nodes[i] = server.New(onDisk(t, toml(fmt.Sprintf(`
[nats]
server_name = "n%d"
[nats.cluster]
name = "c"
listen = "127.0.0.1:%d"
routes = [%s]
[bus]
default_streams = false
[[streams]]
name = "RISK"
subjects = ["events.risk.*", "events.risk.*.>"]
num_replicas = 3
[[streams.consumers]]
name = "engine"
`, i, ports[i], strings.Join(routes, ", ")))), logTo(t))
		t.Cleanup(func() { stop(t, nodes[i]) })
		go func() {
			err := nodes[i].Open(context.Background())
			if err == nil {
				err = nodes[i].Listen()
			}
			errs <- err
		}()
	}
	for range nodes {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	nc, err := nats.Connect(nodes[0].ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	publish(t, over(t, nc), "events.risk.limit.reached", 3)
	until(t, "another node has them", func() bool { return messages(t, js(t, nodes[1]), "RISK") == 3 })
}

// A node whose cluster is not there waits, is not ready, and stops when told to.
func TestClusterWaitsForTheOthers(t *testing.T) {
	t.Parallel()
	ports := freePorts(t, 2)
	s := server.New(onDisk(t, toml(fmt.Sprintf(`
[nats.cluster]
name = "c"
listen = "127.0.0.1:%d"
routes = ["nats://127.0.0.1:%d", "nats://127.0.0.1:%d"]
`, ports[0], ports[0], ports[1]))), logTo(t))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Open(ctx) }()
	until(t, "recovering", func() bool { return s.State().Phase == server.Recovering && s.NATS() != nil })
	cancel()
	if err := <-ended; err == nil {
		t.Error("opened alone")
	}
	<-s.Done()
}

// freePorts are ports that nobody had a moment ago: routes have to name them before anybody listens.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
