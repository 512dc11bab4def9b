package bustest_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/config"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRun(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t)
	names := slices.Sorted(all(bus.JetStream().StreamNames(t.Context()).Name()))
	if got := strings.Join(names, " "); got != "AUDIT CLEARING COMPLIANCE NOTIFICATIONS REPORTING RISK SETTLEMENT TRANSACTIONS" {
		t.Error(got)
	}
	bus.Consumer("REPORTING", "reporting-engine-consumer")
	if first, again := bus.Conn(), bus.Conn(); first != again {
		t.Error("two connections")
	}
}

// Nothing is left: no goroutine (TestMain looks), no file.
func TestCloseLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	bus, err := bustest.Start(bustest.WithFiles(), bustest.WithTCP())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(bus.URL(), nats.MaxReconnects(0))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	bus.Publish("events.risk.x", nil)
	running, err := consumer(t, bus, "REPORTING", "reporting-engine-consumer").Consume(func(jetstream.Msg) {})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Stop()
	begun := time.Now()
	for range 2 {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("closing waited for clients: %s", took)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestMany(t *testing.T) {
	t.Parallel()
	n := 32
	if v, err := strconv.Atoi(os.Getenv("BUSTEST_MANY")); err == nil {
		n = v
	}
	for i := range n {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			if i%2 == 0 {
				t.Parallel()
			}
			bus := bustest.Run(t)
			if ack := bus.Publish("events.clearing.window.opened", nil); ack.Stream != "CLEARING" || ack.Sequence != 1 {
				t.Errorf("%+v", ack)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	orders := config.Stream{StreamConfig: jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3}}
	site := `
[nats]
listen = "127.0.0.1:1"
cluster = { name = "site", listen = "127.0.0.1:2" }
websocket = { listen = "127.0.0.1:3", no_tls = true }
[monitor]
listen = "127.0.0.1:4"
[bus]
store_must_exist = true
[[streams]]
name = "ORDERS"
subjects = ["orders.>"]
num_replicas = 3
`
	cfg, err := config.Parse("site.toml", site)
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string][]bustest.Option{
		"WithStreams":           {bustest.WithStreams(orders)},
		"WithTOML":              {bustest.WithTOML(site)},
		"WithTOML, again":       {bustest.WithTOML(site), bustest.WithTOML("[[streams]]\nname = \"ORDERS\"\nmax_age = \"1h\"\n")},
		"WithConfig":            {bustest.WithConfig(cfg)},
		"WithConfig, with TCP":  {bustest.WithConfig(cfg), bustest.WithTCP()},
		"WithConfig, and files": {bustest.WithConfig(cfg), bustest.WithFiles()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := bustest.Run(t, opts...)
			if ack := bus.Publish("orders.1", nil); ack.Stream != "ORDERS" {
				t.Errorf("%+v", ack)
			}
		})
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		want string
		do   func(t testing.TB)
	}{
		"URL without a port": {"start it with bustest.WithTCP()", func(t testing.TB) { bustest.Run(t).URL() }},
		"Restart in memory":  {"start the bus with bustest.WithFiles()", func(t testing.TB) { bustest.Run(t).Restart() }},
		"Crash in memory":    {"start the bus with bustest.WithFiles()", func(t testing.TB) { bustest.Run(t).Crash() }},
		"two declarations":   {"WithTOML goes over the embedded", func(t testing.TB) { bustest.Run(t, bustest.WithTOML(""), bustest.WithConfig(config.Default())) }},
		"a wrong TOML":       {`WithTOML:2: streams.X.max_agee: unknown key; did you mean "max_age"?`, func(t testing.TB) { bustest.Run(t, bustest.WithTOML("[[streams]]\nmax_agee = 1\nname = \"X\"")) }},
		"a wrong stream": {"overlaps", func(t testing.TB) {
			s := jetstream.StreamConfig{Subjects: []string{"a"}}
			x, y := s, s
			x.Name, y.Name = "X", "Y"
			bustest.Run(t, bustest.WithStreams(config.Stream{StreamConfig: x}, config.Stream{StreamConfig: y}))
		}},
		"no such stream":     {`"NOTIFICATION" is not a stream, and no stream has such a subject; there are AUDIT, CLEARING`, func(t testing.TB) { bustest.Run(t).Events("NOTIFICATION") }},
		"no such consumer":   {"NOTIFICATIONS/x: nats: API error: code=404 err_code=10014", func(t testing.TB) { bustest.Run(t).Consumer("NOTIFICATIONS", "x") }},
		"no stream takes it": {"Publish event.risk.x: nats: no response from stream", func(t testing.TB) { bustest.Run(t).Publish("event.risk.x", nil) }},
		"not JSON":           {"Publish events.risk.x: json: unsupported type: func()", func(t testing.TB) { bustest.Run(t).Publish("events.risk.x", func() {}) }},
		"discard old":        {`stream X has discard = "old"`, func(t testing.TB) { bustest.Run(t, bustest.WithTOML("[[streams]]\nname = \"X\"\n")).Fill("X") }},
		"no max_age":         {"stream X: it has no max_age", func(t testing.TB) { bustest.Run(t, bustest.WithTOML("[[streams]]\nname = \"X\"\n")).PassMaxAge("X") }},
		"after Close":        {"Conn: the bus is closed", func(t testing.TB) { b := bustest.Run(t); _ = b.Close(); b.Conn() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := try(t, tc.do)
			if len(said) == 0 || !strings.Contains(said[0], tc.want) {
				t.Errorf("%q", said)
			}
		})
	}
}

// The log is shown when the test has failed, and only then.
func TestLog(t *testing.T) {
	t.Parallel()
	deny := bustest.WithTOML("[nats.authorization]\nusers = [ { user = \"u\", password = \"$2a$04$zzzzzzzzzzzzzzzzzzzzzuGqLxL0Q1dZc2ZrXK0vF6H0n7tC3sKXy\" } ]\n")
	run := func(t testing.TB) {
		bus := bustest.Run(t, deny, bustest.WithTCP())
		if _, err := nats.Connect(bus.URL()); err == nil {
			t.Fatalf("let in")
		}
	}
	if said := try(t, run); len(said) > 0 {
		t.Errorf("%q", said)
	}
	said := try(t, func(t testing.TB) { run(t); t.Fatalf("because") })
	if len(said) != 2 || !strings.Contains(said[1], "authentication error") {
		t.Errorf("%q", said)
	}
}

// A bus of TestMain's fails the test that uses it, and panics where there is none.
func TestStart(t *testing.T) {
	t.Parallel()
	bus, err := bustest.Start(bustest.WithTimeout(10 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	said := try(t, func(t testing.TB) { bus.For(t).Await("RISK") })
	if len(said) != 1 || !strings.Contains(said[0], "no event after 10ms") {
		t.Errorf("%q", said)
	}
	defer func() {
		if p, _ := recover().(string); !strings.HasPrefix(p, "bustest: Await RISK: no event") {
			t.Error(p)
		}
	}()
	bus.Await("RISK")
}

func TestStartRefuses(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := bustest.Start(bustest.WithTOML("nonsense")); err == nil {
		t.Error("started")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// Who logs in has the rights that are declared, and the bus's own connections have all.
func TestConnectLogsIn(t *testing.T) {
	t.Setenv("BUSTEST_PASSWORD", "secret-password")
	bus := bustest.Run(t, bustest.WithFiles(), bustest.WithTCP(), bustest.WithTOML(`
[nats.authorization]
users = [ { user = "engine", password = "env:BUSTEST_PASSWORD", permissions = { publish = ["events.risk.>"], subscribe = ["_INBOX.>"] } } ]
`))
	engine := bus.Connect(nats.UserInfo("engine", "secret-password"))
	for range 2 {
		for subject, allowed := range map[string]bool{"events.risk.x": true, "events.audit.x": false} {
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 5 * time.Second, false: 50 * time.Millisecond}[allowed])
			_, err := engine.RequestWithContext(ctx, subject, nil)
			cancel()
			if allowed != (err == nil) {
				t.Errorf("%s: %v", subject, err)
			}
			if _, err := bus.JetStream().Publish(t.Context(), subject, nil); err != nil {
				t.Error(err)
			}
		}
		bus.Restart() // a new server lets the same in
	}
}

func all[T any](c <-chan T) func(func(T) bool) {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

func consumer(t testing.TB, bus *bustest.Bus, stream, name string) jetstream.Consumer {
	t.Helper()
	c, err := bus.JetStream().Consumer(context.Background(), stream, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
