package server_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// After nats-server could not write, it is started anew within the process: clients come back by themselves, by the same
// ports and log-ins, find what was there, and publish on.
func TestStartedAnew(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	dir := filepath.Join(t.TempDir(), "store")
	text := `
[nats.authorization]
users = [{ user = "engine", password = "env:DELTRAN_TEST_PASSWORD" }]
[nats.websocket]
listen = "127.0.0.1:-1"
no_tls = true
[[streams]]
name = "HOT"
subjects = ["hot.>"]
storage = "memory"
`
	cfg := at(t, dir, toml(text))
	s := start(t, cfg)
	ctx := context.Background()
	connect := func(url string) jetstream.JetStream {
		t.Helper()
		nc, err := nats.Connect(url, nats.UserInfo("engine", "s3cret-password"), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), quietly)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return over(t, nc)
	}
	url := s.ClientURL()
	web := websocket(t, s)
	js, byWeb := connect(url), connect(web)
	publish(t, js, "events.notifications.x", 20)
	publish(t, js, "hot.x", 20)
	con, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	consuming, err := con.Consume(func(m jetstream.Msg) {
		if err := m.DoubleAck(ctx); err == nil {
			got.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()
	until(t, "the consumer has them", func() bool { return got.Load() == 20 })
	was := s.NATS()
	id := was.ID()

	s.Break(syscall.EIO)
	if _, err := js.Publish(ctx, "events.risk.x", nil); !refused(err) && s.State().Space.Restarts == 0 {
		t.Errorf("publish after a write error: %v", err)
	}
	until(t, "it is started anew", func() bool { return s.State().Space.Restarts == 1 && s.State().Phase == server.Serving })
	st := s.State()
	if st.Err != nil || st.Storage.New || len(st.Done.Changes) != 1 || st.Done.Changes[0].Stream != "HOT" || len(s.Missing()) > 0 {
		t.Errorf("%+v", st)
	}
	if s.NATS() == was || s.NATS().ID() == id || s.ClientURL() != url || websocket(t, s) != web {
		t.Errorf("it is at %s and %s, and was at %s and %s", s.ClientURL(), websocket(t, s), url, web)
	}
	select {
	case <-s.Done():
		t.Fatal("it is done")
	default:
	}
	until(t, "it takes publishes", func() bool { return s.State().Space.Refusing == "" })
	for what, js := range map[string]jetstream.JetStream{"TCP": js, "WebSocket": byWeb} {
		until(t, "a client comes back by "+what, func() bool { _, err := js.Publish(ctx, "events.notifications.x", nil); return err == nil })
	}
	until(t, "the consumer goes on where it was", func() bool { return got.Load() == 22 })
	if n := messages(t, js, "HOT"); n != 0 {
		t.Errorf("the memory stream has %d messages", n)
	}
	if err := s.Reload(ctx, at(t, dir, toml(text+"[[streams]]\nname = \"LATE\"\nsubjects = [\"late.>\"]\n"))); err != nil {
		t.Errorf("reload: %v", err)
	}
	publish(t, js, "late.x", 1)
	if nc, err := nats.Connect(url, nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("nobody asks who comes in any more")
	}
}

// A bus that nobody listens to yet, as in a unit test, is started anew the same way.
func TestStartedAnewBehindTheGate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	s := server.New(onDisk(t), logTo(t), server.OnIncident(func(i server.Incident) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, i.What)
	}))
	if err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	publish(t, js(t, s), "events.risk.x", 3)
	s.Break(syscall.EIO)
	until(t, "it is started anew", func() bool { return s.State().Space.Restarts == 1 && s.State().Phase == server.Standing })
	until(t, "everybody is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(told, []string{server.Refusing, server.Restarted, server.Taking})
	})
	if s.ClientURL() != "" {
		t.Error("the gate is open")
	}
	until(t, "it takes publishes", func() bool { return s.State().Space.Refusing == "" })
	if seq := publish(t, js(t, s), "events.risk.x", 1); seq != 4 {
		t.Errorf("sequence %d", seq)
	}
	if err := s.Listen(); err != nil {
		t.Error(err)
	}
}

// What goes wrong again and again is tried again and again, with growing pauses.
func TestNoStormOfStarts(t *testing.T) {
	t.Parallel()
	s := server.New(onDisk(t), logTo(t), server.Hasty)
	if err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for i := range uint64(3) {
		s.Break(syscall.EIO)
		until(t, "it is started anew", func() bool { return s.State().Space.Restarts == i+1 && s.State().Space.Refusing == "" })
	}
	var pauses, full []string
	for i := range 9 {
		pauses, full = append(pauses, server.PauseAfter(i, false).String()), append(full, server.PauseAfter(i, true).String())
	}
	if got := strings.Join(pauses, " "); got != "1s 2s 4s 8s 16s 32s 1m0s 1m0s 1m0s" {
		t.Error(got)
	}
	if got := strings.Join(full, " "); got != "1s 2s 4s 4s 4s 4s 4s 4s 4s" {
		t.Error(got)
	}
}

// JetStream shuts itself down when a copy of a stream meets a full disk, and where it may not write any more.
func TestJetStreamShutDown(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t))
	publish(t, js(t, s), "events.risk.x", 3)
	if err := s.NATS().ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is started anew", func() bool { return s.State().Space.Restarts == 1 && s.State().Phase == server.Serving })
	if seq := publish(t, js(t, s), "events.risk.x", 1); seq != 4 {
		t.Errorf("sequence %d", seq)
	}
}

// Whoever closes a bus that is just being started anew is not kept waiting, and nothing is left running.
func TestCloseWhileStartedAnew(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := start(t, onDisk(t))
			s.Break(syscall.EIO)
			spin := i * 4
			until(t, "some moment", func() bool { spin--; return spin < 0 || s.State().Space.Restarts > 0 })
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { stop(t, s) })
			}
			all.Wait()
			<-s.Done()
			if st := s.State(); st.Phase != server.Closed || s.NATS() != nil && s.NATS().Running() {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A bus that does not come back, here because its key is another one now, ends with its reason, for whoever looks after
// the process.
func TestNeverBack(t *testing.T) {
	t.Setenv("DELTRAN_TEST_KEY", "the-right-encryption-key")
	cfg := onDisk(t, toml("[nats.jetstream]\nkey = \"env:DELTRAN_TEST_KEY\"\n"))
	s := server.New(cfg, logTo(t), server.Hasty)
	if err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	publish(t, js(t, s), "events.risk.x", 3)
	t.Setenv("DELTRAN_TEST_KEY", "another-encryption-key")
	s.Break(syscall.EIO)
	<-s.Done()
	if st := s.State(); st.Phase != server.Closed || st.Err == nil || st.Space.Restarts != 0 {
		t.Errorf("%+v", st)
	}
	t.Setenv("DELTRAN_TEST_KEY", "the-right-encryption-key")
	if n := messages(t, js(t, start(t, cfg)), "RISK"); n != 3 {
		t.Errorf("%d messages", n)
	}
}

func websocket(t *testing.T, s *server.Server) string {
	t.Helper()
	v, err := s.NATS().Varz(nil)
	if err != nil || v.Websocket.Port <= 0 {
		t.Fatalf("%+v, %v", v.Websocket, err)
	}
	return fmt.Sprintf("ws://127.0.0.1:%d", v.Websocket.Port)
}

// quietly keeps a client's errors from stderr.
var quietly = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
