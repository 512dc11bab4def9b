package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

// More streams and consumers than a page of 256.
func TestObservePages(t *testing.T) {
	t.Parallel()
	b := start(t)
	var want []config.Stream
	for i := range 260 {
		want = append(want, stream(fmt.Sprintf("P%d", i)))
	}
	for i := range 260 {
		want[0].Consumers = append(want[0].Consumers, jetstream.ConsumerConfig{Durable: fmt.Sprintf("c%d", i), MemoryStorage: true})
	}
	b.apply(want, Allow{})
	have := b.observe()
	if len(have.Streams) != 260 || len(have.Streams["P0"].Consumers) != 260 {
		t.Fatal(len(have.Streams), len(have.Streams["P0"].Consumers))
	}
	if p := Diff(want, have); !p.Empty() {
		t.Fatal(text(p))
	}
}

// One request for the streams and one for each stream that has consumers; nothing more when nothing differs.
func TestWarmStartAsksLittle(t *testing.T) {
	t.Parallel()
	b := start(t)
	want := config.Default().Streams
	b.apply(want, Allow{})
	asked := b.count("$JS.API.>")
	have := b.observe()
	plan := Diff(want, have)
	if err := Weigh(b.ctx, b.js, plan); err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(b.ctx, b.js, plan, Allow{DataLoss: true, Irreversible: true}); err != nil {
		t.Fatal(err)
	}
	with := 0
	for _, s := range want {
		if len(s.Consumers) > 0 {
			with++
		}
	}
	if got := asked(); len(got) != 1+with {
		t.Fatal(got)
	}
}

// count collects the subjects of requests.
func (b *bus) count(subject string) func() []string {
	b.Helper()
	var mu sync.Mutex
	var got []string
	sub, err := b.nc.Subscribe(subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m.Subject)
	})
	if err != nil {
		b.Fatal(err)
	}
	return func() []string {
		_ = b.nc.Flush()
		b.eventually("drained", func() bool { n, _, _ := sub.Pending(); return n == 0 })
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// An update replaces the whole config: what a newer server has in it has to go back, whatever nats.go makes of it.
func TestUpdateKeepsUnknownFields(t *testing.T) {
	t.Parallel()
	raw := `{"name":"A","sealed":false,"max_age":5,"allow_wonders":true,"consumer_limits":{"wonders":1},"wonder":{"a":1},
		"placement":{"cluster":"gone"},"sources":[{"name":"X","wonder":2},{"name":"Y"}]}`
	var there, send jetstream.StreamConfig
	if err := json.Unmarshal([]byte(raw), &there); err != nil {
		t.Fatal(err)
	}
	send = there
	send.Sealed, send.MaxAge, send.Placement, send.Description = true, 0, nil, "x"
	send.Sources = []*jetstream.StreamSource{{Name: "Z"}, {Name: "X"}}
	update := fieldsOf(send)
	keepUnknown(update, object([]byte(raw)), fieldsOf(there))
	b, _ := json.Marshal(update)
	for _, want := range []string{`"allow_wonders":true`, `"wonders":1`, `"wonder":{"a":1}`, `{"name":"X","wonder":2}`, `{"name":"Z"}`, `"sealed":true`, `"max_age":0`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in %s", want, b)
		}
	}
	if strings.Contains(string(b), "placement") {
		t.Errorf("placement came back: %s", b)
	}
}

// The prefix and the domain of the js context are followed.
func TestDomain(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *natsserver.Options) { o.JetStreamDomain = "edge" })
	byDomain, err := jetstream.NewWithDomain(b.nc, "edge")
	if err != nil {
		t.Fatal(err)
	}
	byPrefix, err := jetstream.NewWithAPIPrefix(b.nc, "$JS.edge.API")
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Stream{stream("A")}
	for i, js := range []jetstream.JetStream{byDomain, byPrefix} {
		have, err := Observe(b.ctx, js)
		if err != nil {
			t.Fatal(err)
		}
		plan := Diff(want, have)
		if (i == 0) == plan.Empty() {
			t.Fatal(text(plan))
		}
		if _, err := Apply(b.ctx, js, plan, Allow{}); err != nil {
			t.Fatal(err)
		}
	}
	nowhere, err := jetstream.NewWithDomain(b.nc, "nowhere")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Observe(b.ctx, nowhere); !errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
		t.Fatal(err)
	}
}

// A stream that the server has but cannot show is not mistaken for one that is missing.
func TestOffline(t *testing.T) {
	t.Parallel()
	p := Diff([]config.Stream{stream("A")}, Observed{Offline: map[string]string{"A": "unsupported"}})
	if len(p.Changes) != 1 || p.Changes[0].Class != Conflict || !p.Doable(Allow{true, true}).Empty() {
		t.Fatal(text(p))
	}
}

func TestNoJetStream(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *natsserver.Options) { o.JetStream = false })
	if _, err := Observe(b.ctx, b.js); err == nil || !strings.Contains(err.Error(), "list streams: ") {
		t.Fatal(err)
	}
}
