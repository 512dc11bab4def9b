package monitor

import (
	"sync"
	"sync/atomic"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// While nats-server recovers and while it shuts down, all endpoints can be asked: 503s at worst, never a panic.
func TestAskedWhileStartingAndStopping(t *testing.T) {
	t.Parallel()
	b := opening()
	m := open(t, b, Options{})
	var paths []string
	for _, r := range m.natsRoutes() {
		paths = append(paths, r.path+"?subs=1&streams=1&consumers=1&unused=1&all=1")
	}
	paths = append(paths, "/healthz", "/healthz?js-server-only=true", "/readyz", "/metrics", "/")
	var wg sync.WaitGroup
	var stop atomic.Bool
	defer wg.Wait()
	defer stop.Store(true)
	asked := make([]atomic.Int64, len(paths))
	for i, p := range paths {
		wg.Go(func() {
			for !stop.Load() {
				if r := get(t, m.URL()+p); r.code == 500 && p != "/healthz?js-server-only=true" || r.code > 503 {
					t.Errorf("%s: %d %.200s", p, r.code, r.body)
				}
				asked[i].Add(1)
			}
		})
	}
	all := func(what string) {
		t.Helper()
		for i := range asked {
			n := asked[i].Load()
			waitFor(t, what, func() bool { return asked[i].Load() > n+1 })
		}
	}
	all("asked without NATS")
	s := b.make(t, &natsserver.Options{DontListen: true})
	b.nats.Store(s)
	all("asked before Start")
	s.Start()
	all("asked while started")
	b.set(servingState())
	js := b.js(t)
	b.create(t, js, "stream AUDIT")
	all("asked while serving")
	s.Shutdown()
	all("asked after Shutdown")
	if n := failuresOf(t, m); n > 0 {
		t.Errorf("%v parts of scrapes failed", n)
	}
}
