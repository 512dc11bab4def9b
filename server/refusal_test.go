package server_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
)

// Whatever nats-server refuses a client is told, with who, from where and what, whatever the client calls itself.
func TestOnRefusal(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	var mu sync.Mutex
	var told []server.Refusal
	s := server.New(at(t, t.TempDir(), toml(`
[[services]]
name = "desk"
password = "env:DELTRAN_TEST_PASSWORD"
publishes = ["events.risk.*"]
max_connections = 3
`)), slog.New(slog.DiscardHandler), server.OnRefusal(func(r server.Refusal) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r)
	}))
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	expect := func(want server.Refusal) {
		t.Helper()
		until(t, fmt.Sprintf("%+v", want), func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := len(told)
			told = slices.DeleteFunc(told, func(r server.Refusal) bool {
				address, id := r.Address, r.Client
				r.Address, r.Client = "", 0
				return r == want && strings.HasPrefix(address, "127.0.0.1:") && id > 0
			})
			return len(told) < n
		})
	}
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	connect := func(name string) *nats.Conn {
		nc, err := nats.Connect(s.ClientURL(), nats.Name(name), nats.UserInfo("desk", "s3cret-password"), quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	for user, want := range map[string]string{"desk": "desk", `de"sk - %s`: `de"sk - %s`} {
		if _, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, "wrong")); err == nil {
			t.Fatal("let in")
		}
		expect(server.Refusal{User: want, Reason: "authentication error"})
	}
	if _, err := nats.Connect(s.ClientURL()); err == nil {
		t.Fatal("let in")
	}
	expect(server.Refusal{Reason: "authentication error"})
	if _, err := nats.Connect(s.ClientURL(), nats.Token("a token that is nobody's business")); err == nil {
		t.Fatal("let in")
	}
	expect(server.Refusal{User: "[REDACTED]", Reason: "authentication error"})

	for _, name := range []string{"desk", "%s %d %q", `a" - Publish Violation - Subject "x`, "1.2.3.4:5 - cid:7 - authentication error"} {
		nc := connect(name)
		for _, err := range []error{nc.Publish("events.audit.x", nil), nc.PublishRequest("events.risk.x", "_R_.x", nil), nc.Flush()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := nc.SubscribeSync("events.>"); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.QueueSubscribeSync("events.risk.>", "group"); err != nil {
			t.Fatal(err)
		}
		expect(server.Refusal{Action: "publish", Subject: "events.audit.x"})
		expect(server.Refusal{Action: "reply", Subject: "_R_.x"})
		expect(server.Refusal{Action: "subscribe", Subject: "events.>"})
		expect(server.Refusal{Action: "subscribe", Subject: "events.risk.>"})
		nc.Close()
	}
	until(t, "them to be gone", func() bool { return s.Clients() == 0 })
	for range 3 {
		connect("one of three")
	}
	if _, err := nats.Connect(s.ClientURL(), nats.UserInfo("desk", "s3cret-password")); err == nil {
		t.Fatal("let in")
	}
	expect(server.Refusal{Reason: "maximum account active connections exceeded"})
	mu.Lock()
	defer mu.Unlock()
	told = slices.DeleteFunc(told, func(r server.Refusal) bool { return strings.HasPrefix(r.Reason, "maximum account") }) // it may be said twice
	if len(told) > 0 {
		t.Errorf("told as well: %+v", told)
	}
}

// A client that is gone is known at every moment: nats-server takes it off one list before it puts it on another.
func TestConnOfOneThatLeaves(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t))
	for range 100 {
		nc, err := nats.Connect(s.NATS().ClientURL(), nats.Name("leaver"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := nc.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		until(t, "it leaves", func() bool { return s.NATS().GetClient(id) == nil })
		if c, ok := s.Conn(id); !ok || c.Name != "leaver" {
			t.Fatalf("connection %d is %+v, known: %t", id, c, ok)
		}
	}
}
