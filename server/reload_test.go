package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, at(t, dir))
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	publish(t, over(t, nc), "events.risk.x", 5)
	err = s.Reload(context.Background(), at(t, dir, toml(`
[nats]
max_payload = "1MB"
[[streams]]
name = "RISK"
description = "new"
max_msgs = 2
discard = "old"
[[streams]]
name = "PAYMENTS"
subjects = ["events.payments.>"]
`)))
	if err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.Phase != server.Serving || st.Err != nil || len(st.Done.Changes) != 2 || len(st.Plan.Changes) != 1 {
		t.Errorf("%+v", st)
	}
	publish(t, over(t, nc), "events.payments.x", 1)
	if n := messages(t, over(t, nc), "RISK"); n != 5 {
		t.Errorf("%d messages: a lossy change was made by a reload", n)
	}
	fresh, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if fresh.MaxPayload() != 1<<20 {
		t.Errorf("max_payload is %d", fresh.MaxPayload())
	}
}

// A reload that cannot be done whole is not done at all.
func TestReloadRefused(t *testing.T) {
	t.Setenv("DELTRAN_TEST_KEY", "the-right-encryption-key")
	dir := t.TempDir()
	const key = "[nats.jetstream]\nkey = \"env:DELTRAN_TEST_KEY\"\n"
	s := start(t, at(t, dir, toml(key)))
	before := s.State()
	for name, tc := range map[string]struct{ text, want string }{
		"store":       {"[nats.jetstream]\nstore_dir = \"" + t.TempDir() + "\"", "nats.jetstream.store_dir: cannot change while the bus runs"},
		"sync":        {"[nats.jetstream]\nsync_interval = \"1m\"", "nats.jetstream.sync_interval: cannot change while the bus runs"},
		"name":        {"[nats]\nserver_name = \"other\"", "nats.server_name: cannot change while the bus runs"},
		"port":        {"[nats]\nlisten = \"127.0.0.1:1\"", "nats.listen: cannot change while the bus runs"},
		"websocket":   {"[nats.websocket]\nno_tls = true\nlisten = \"127.0.0.1:0\"\nport = 1", "nats.websocket"},
		"key":         {"[nats.jetstream]\nkey = \"env:DELTRAN_TEST_OTHER_KEY\"", "nats.jetstream.key: cannot change while the bus runs"},
		"lame duck":   {"[bus]\nlame_duck = \"3s\"", "bus.lame_duck: cannot change while the bus runs"},
		"monitor":     {"[monitor]\nlisten = \"127.0.0.1:1\"", "monitor: cannot change while the bus runs"},
		"a conflict":  {"[[streams]]\nname = \"RISK\"\nstorage = \"memory\"\nmax_bytes = \"1MB\"\n[[streams]]\nname = \"NEW\"", "stream RISK: storage"},
		"bad secret":  {"[nats.authorization]\ntoken = \"env:DELTRAN_TEST_NOT_SET\"", "environment variable DELTRAN_TEST_NOT_SET is not set"},
		"bad payload": {"[nats]\nmax_payload = \"1MB\"\nmax_pending = \"2KB\"\n[[streams]]\nname = \"NEW\"", "max_pending"},
	} {
		t.Setenv("DELTRAN_TEST_OTHER_KEY", "another-encryption-key")
		cfg, err := config.Load(config.Set("test", "nats.listen", "127.0.0.1:0"), config.Set("test", "nats.jetstream.store_dir", dir), toml(key), config.File(name, tc.text))
		if err != nil {
			t.Fatal(name, err)
		}
		err = s.Reload(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "encryption-key") {
			t.Errorf("%s: %v", name, err)
		}
		if st := s.State(); st.Phase != before.Phase || st.Err != nil || len(st.Done.Changes) != len(before.Done.Changes) {
			t.Errorf("%s: %+v", name, st)
		}
		if len(s.Config().Streams) != 8 || len(s.Missing()) > 0 {
			t.Errorf("%s: the declaration changed", name)
		}
	}
	publish(t, js(t, s), "events.risk.x", 1)
}

func TestReloadNeedsAServingBus(t *testing.T) {
	t.Parallel()
	cfg := onDisk(t)
	s := server.New(cfg, logTo(t))
	if err := s.Reload(context.Background(), cfg); !errors.Is(err, server.ErrNotServing) {
		t.Error(err)
	}
	stop(t, s)
}

// Switching authentication on by a reload sends the anonymous away, hides nothing, and leaves the bus its own way in.
func TestReloadSwitchesAuthenticationOn(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	dir := t.TempDir()
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.risk.x", 2)
	gone := make(chan struct{})
	nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := s.Reload(context.Background(), at(t, dir, toml("[nats.authorization]\ntoken = \"env:DELTRAN_TEST_PASSWORD\"\n"))); err != nil {
		t.Fatal(err)
	}
	<-gone
	if n := messages(t, js(t, s), "RISK"); n != 2 {
		t.Errorf("%d messages", n)
	}
	if err := s.Reload(context.Background(), at(t, dir)); err != nil {
		t.Fatal(err)
	}
	nc, err = nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

// Services, tenants and mappings come and go by reloads; the streams stay in their account, and JetStream with them.
func TestReloadAccounts(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	dir := t.TempDir()
	const (
		service = "[[services]]\nname = \"desk\"\npassword = \"env:DELTRAN_TEST_PASSWORD\"\npublishes = [\"events.risk.*\"]\n"
		another = "[[services]]\nname = \"other\"\npassword = \"env:DELTRAN_TEST_PASSWORD\"\npublishes = [\"events.risk.*\"]\n"
		tenant  = "[nats.accounts.TENANT]\njetstream = true\nusers = [{ user = \"tenant\", password = \"env:DELTRAN_TEST_PASSWORD\" }]\n"
		mapping = "[nats.mappings]\n\"events.risk.old\" = \"events.risk.new\"\n"
	)
	s := start(t, at(t, dir))
	stored := uint64(0)
	for i, text := range []string{service, service + another + tenant, mapping + service, mapping + service + tenant, mapping, service, ""} {
		for range 2 { // a second reload finds nothing new
			if err := s.Reload(context.Background(), at(t, dir, toml(text))); err != nil {
				t.Fatal(i, err)
			}
			publish(t, js(t, s), "events.risk.old", 1)
			stored++
			for _, user := range []string{"desk", "other"} {
				if !strings.Contains(text, "\""+user+"\"") {
					continue
				}
				nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, "s3cret-password"))
				if err != nil {
					t.Fatal(i, err)
				}
				service, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				publish(t, service, "events.risk.old", 1)
				stored++
				nc.Close()
			}
			if n := messages(t, js(t, s), "RISK"); n != stored {
				t.Fatalf("%d: %d messages, want %d", i, n, stored)
			}
			risk, err := js(t, s).Stream(context.Background(), "RISK")
			if err != nil {
				t.Fatal(err)
			}
			last, err := risk.GetMsg(context.Background(), stored)
			if want := map[bool]string{true: "events.risk.new", false: "events.risk.old"}[strings.Contains(text, mapping)]; err != nil || last.Subject != want {
				t.Errorf("%d: stored as %v, %v", i, last, err)
			}
		}
	}
	if h := s.NATS().Healthz(nil); h.Status != "ok" {
		t.Error(h.Error)
	}
}
