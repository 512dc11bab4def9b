package access_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// As docs/security.md has it.
const tenants = `
[nats]
listen = "127.0.0.1:0"

[[streams]]
name = "TRANSACTIONS"
republish = { src = "events.transactions.>", dest = "shared.transactions.>" }

[nats.accounts."$G"]
exports = [{ stream = "shared.transactions.>", accounts = ["TENANT"] }]

[nats.accounts.TENANT]
jetstream = { max_file = "64MB", max_mem = "16MB", max_streams = 2, max_consumers = 10 }
imports = [{ stream = { account = "$G", subject = "shared.transactions.>" } }]
users = [{ user = "tenant", password = "env:MATRIX_PASSWORD" }]

[nats.accounts.OTHER]
users = [{ user = "other", password = "env:MATRIX_PASSWORD" }]

[[services]]
name = "token-engine"
password = "env:MATRIX_PASSWORD"
publishes = ["events.transactions.>", "events.audit.>"]
`

// A tenant has JetStream of its own with its own limits, hears what is shared with it, and reaches nothing else.
func TestTenant(t *testing.T) {
	t.Parallel()
	b := start(t, tenants)
	b.fill(t)
	nc := b.connect(t, "tenant")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream := func(name string, subjects ...string) error {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.MemoryStorage, MaxBytes: 1 << 20})
		return err
	}
	// The streams of the bus are not there, by name nor by subject: the tenant may use the same.
	if _, err := js.Stream(t.Context(), "TRANSACTIONS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the tenant sees TRANSACTIONS: %v", err)
	}
	if err := stream("COPY", "shared.transactions.>"); err != nil {
		t.Fatal(err)
	}
	if err := stream("AUDIT", "events.>"); err != nil {
		t.Fatal(err)
	}
	var api *jetstream.APIError
	if err := stream("THIRD", "third"); !errors.As(err, &api) || api.ErrorCode != 10027 {
		t.Errorf("a third stream of two: %v", err)
	}

	// What the token engine publishes arrives there, and what the tenant publishes does not come here.
	engine := b.connect(t, "token-engine")
	engineJS, err := jetstream.New(engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"events.audit.made", "events.transactions.made"} {
		if _, err := engineJS.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	here := b.stored(t)
	count := func(name string) uint64 {
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.Msgs
	}
	await(t, "the copy", func() bool { return count("COPY") == 1 })
	for _, subject := range []string{"events.transactions.forged", "shared.transactions.forged", "events.audit.forged"} {
		if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if n := count("AUDIT"); n != 2 { // its own two; of the bus's AUDIT nothing was shared
		t.Errorf("the tenant's AUDIT holds %d messages", n)
	}
	if now := b.stored(t); now != here {
		t.Errorf("the tenant changed the streams of the bus:\n%s\n%s", here, now)
	}
	for _, user := range []string{"tenant", "other"} {
		nc := b.connect(t, user)
		heard, err := nc.SubscribeSync(">")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := engineJS.Publish(t.Context(), "events.audit.made", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if m, err := heard.NextMsg(20 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
			t.Errorf("%s hears %s", user, m.Subject)
		}
	}
}
