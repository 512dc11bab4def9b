package bootstrap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

func stream(name string, subjects ...string) config.Stream {
	return config.Stream{StreamConfig: jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.MemoryStorage}}
}

func TestDefaultLayout(t *testing.T) {
	t.Parallel()
	b := start(t)
	want := config.Default().Streams
	done := b.apply(want, Allow{})
	if n := len(done.Changes); n < 10 {
		t.Fatalf("%d changes", n)
	}
	if p := Diff(want, b.observe()); !p.Empty() || len(p.Undeclared) > 0 {
		t.Fatal(text(p))
	}
}

// A field that is held holds back nothing else, but what derives from it.
func TestHeldHoldsBackOnlyItself(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, tc := range []struct {
		name, from, to string
		held           []string
		settled        func(jetstream.StreamConfig) bool
	}{
		{"lossy", `max_age="2h"`, "max_age=\"1h\"\ndescription=\"x\"", []string{"max_age"},
			func(c jetstream.StreamConfig) bool { return c.MaxAge == 2*time.Hour && c.Description == "x" }},
		{"derived", ``, "max_age=\"1m\"\ndescription=\"x\"", []string{"duplicate_window", "max_age"},
			func(c jetstream.StreamConfig) bool { return c.Duplicates == 2*time.Minute && c.Description == "x" }},
		{"irreversible", ``, "subject_delete_marker_ttl=\"1m\"\ndescription=\"x\"", []string{"allow_msg_ttl", "allow_rollup_hdrs", "subject_delete_marker_ttl"},
			func(c jetstream.StreamConfig) bool { return c.Description == "x" && !c.AllowMsgTTL }},
		{"conflict", ``, "mirror={name=\"X\"}\nsubjects=[]\ndescription=\"x\"", []string{"duplicate_window", "mirror", "subjects"},
			func(c jetstream.StreamConfig) bool {
				return c.Description == "x" && len(c.Subjects) == 1 && c.Mirror == nil
			}},
		{"combination", ``, "discard=\"new\"\nmax_msgs_per_subject=1\ndiscard_new_per_subject=true\ndescription=\"x\"", []string{"discard_new_per_subject", "max_msgs_per_subject"},
			func(c jetstream.StreamConfig) bool {
				return c.Description == "x" && c.Discard == jetstream.DiscardNew && !c.DiscardNewPerSubject
			}},
		{"conditional", "discard=\"new\"\nmax_msgs=100", "max_msgs=3\ndescription=\"x\"", []string{"discard", "max_msgs"},
			func(c jetstream.StreamConfig) bool {
				return c.Description == "x" && c.Discard == jetstream.DiscardNew && c.MaxMsgs == 100
			}},
		{"against its opposite", `deny_purge=true`, "allow_msg_schedules=true\ndescription=\"x\"", []string{"allow_msg_schedules", "allow_rollup_hdrs", "deny_purge"},
			func(c jetstream.StreamConfig) bool { return c.Description == "x" && c.DenyPurge }},
		{"safe only without it", ``, "allow_msg_counter=true\nmax_msgs=1\ndescription=\"x\"", []string{"allow_msg_counter", "max_msgs"},
			func(c jetstream.StreamConfig) bool { return c.Description == "x" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.on(t)
			name := unique()
			from, to := ruleCase{from: tc.from, to: tc.to}.streams(t, name)
			b.apply(from, Allow{})
			messages(3)(b, name)
			plan := b.diff(to)
			if _, err := Apply(b.ctx, b.js, plan, Allow{}); err != nil {
				t.Fatal(err)
			}
			now := b.observe().Streams[name]
			if !tc.settled(now.Config) || now.State.Msgs != 6 {
				t.Fatalf("%+v", now)
			}
			var held []string
			for _, c := range b.diff(to).Changes {
				for _, f := range c.Fields {
					held = append(held, f.Name)
				}
			}
			if !slices.Equal(held, tc.held) {
				t.Errorf("held %q, want %q", held, tc.held)
			}
			if got := plan.Held(Allow{}); len(got.Changes) != 1 || len(got.Changes[0].Fields) != len(held) {
				t.Errorf("Held foresaw\n%s", text(got))
			}
			if again := b.diff(to).Doable(Allow{}); !again.Empty() {
				t.Errorf("not idempotent:\n%s", text(again))
			}
		})
	}
}

// Subjects move between streams, also in a circle, and consumers of a work queue swap their shares.
func TestMoves(t *testing.T) {
	t.Parallel()
	b := start(t)
	from := []config.Stream{stream("A", "a.x", "a.y"), stream("B", "b.x"), stream("C", "c.x"), stream("D", "d.x")}
	to := []config.Stream{
		stream("A", "a.x", "c.x"), stream("B", "a.y"), stream("C", "b.x"), // a circle
		stream("D", "d.y"), stream("E", "d.>"), // E takes all of D's, so D has to let go first
	}
	to[3].Subjects = []string{"e.y"}
	b.apply(from, Allow{})
	b.apply(to, Allow{})
	if p := Diff(to, b.observe()); !p.Empty() {
		t.Fatal(text(p))
	}
	swapped := []config.Stream{stream("A", "a.y"), stream("B", "a.x", "c.x"), stream("C", "b.x"), stream("D", "d.>"), stream("E", "e.y")}
	b.apply(swapped, Allow{})
	if p := Diff(swapped, b.observe()); !p.Empty() {
		t.Fatal(text(p))
	}
}

func TestWorkQueueSharesMove(t *testing.T) {
	t.Parallel()
	b := start(t)
	with := func(one, two string) []config.Stream {
		return declare(t, "Q", "[[streams]]\nname='Q'\nsubjects=['q.>']\nretention='workqueue'"+
			"\n[[streams.consumers]]\nname='one'\nfilter_subject='q."+one+"'\n[[streams.consumers]]\nname='two'\nfilter_subject='q."+two+"'")
	}
	b.apply(with("a", "b"), Allow{})
	b.apply(with("b", "a"), Allow{DataLoss: true})
	if p := Diff(with("b", "a"), b.observe()); !p.Empty() {
		t.Fatal(text(p))
	}
	third := with("b", "a")
	third[0].Consumers = append(third[0].Consumers, jetstream.ConsumerConfig{Durable: "three", FilterSubject: "q.c"})
	b.apply(third, Allow{})
	third[0].Consumers[2].Durable, third[0].Consumers[2].Name = "four", "four"
	p := Diff(third, b.observe())
	if len(p.Changes) != 1 || p.Changes[0].Class != Conflict || !strings.Contains(p.Changes[0].Why, "three") {
		t.Fatal(text(p))
	}
}

// On an interest stream nothing may arrive, and nothing be dropped, before the declared consumers wait for it.
func TestInterestKeepsWhatDeclaredConsumersWant(t *testing.T) {
	t.Parallel()
	b := start(t)
	from := []config.Stream{stream("I", "i.>")}
	b.apply(from, Allow{})
	b.publish("i.x", 5)
	to := []config.Stream{stream("I", "i.>")}
	to[0].Retention = jetstream.InterestPolicy
	to[0].Consumers = []jetstream.ConsumerConfig{{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}}
	b.apply(to, Allow{DataLoss: true})
	if n := b.messages("I"); n != 5 {
		t.Fatalf("%d of 5 left", n)
	}
}

// A stream that is not declared keeps its subjects; whoever wants them is told so, and the rest is made.
func TestForeignStreamHasTheSubjects(t *testing.T) {
	t.Parallel()
	b := start(t)
	b.apply([]config.Stream{stream("FOREIGN", "x.>"), stream("A", "a.>")}, Allow{})
	want := []config.Stream{stream("A", "a.>", "x.a"), stream("B", "x.b"), stream("C", "c.>")}
	want[0].Description = "x"
	want[1].Consumers = []jetstream.ConsumerConfig{{Durable: "c"}}
	plan := Diff(want, b.observe())
	done, err := Apply(b.ctx, b.js, plan, Allow{DataLoss: true, Irreversible: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(done); !strings.Contains(got, "stream C: create") || !strings.Contains(got, "description") || strings.Contains(got, "stream B") {
		t.Error(got)
	}
	if p := plan.Impossible(); len(p.Changes) != 2 {
		t.Error(text(p))
	}
	held := text(Diff(want, b.observe()))
	if strings.Count(held, "FOREIGN already captures x.>") != 2 || !strings.Contains(held, "its stream cannot be created") {
		t.Error(held)
	}
	if held != text(withUndeclared(plan.Held(Allow{}), Diff(want, b.observe()))) {
		t.Errorf("Held foresaw\n%s", text(plan.Held(Allow{})))
	}
}

func withUndeclared(p, as Plan) Plan { p.Undeclared = as.Undeclared; return p }

func TestUndeclared(t *testing.T) {
	t.Parallel()
	b := start(t)
	have := []config.Stream{stream("Z"), stream("B"), stream("A")}
	have[2].Consumers = []jetstream.ConsumerConfig{{Durable: "z"}, {Durable: "a"}}
	b.apply(have, Allow{})
	if _, err := b.js.OrderedConsumer(b.ctx, "A", jetstream.OrderedConsumerConfig{}); err != nil {
		t.Fatal(err)
	}
	p := Diff([]config.Stream{stream("A")}, b.observe())
	want := []Ref{{"A", "a"}, {"A", "z"}, {Stream: "B"}, {Stream: "Z"}}
	if !p.Empty() || !slices.Equal(p.Undeclared, want) {
		t.Fatal(text(p))
	}
}

// Two at once, of equal and of different declarations: each stream and consumer becomes one of the two, and nobody fails who got
// what it wanted.
func TestTwoAppliesDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, different := range []bool{false, true} {
		b := start(t)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			want := config.Default().Streams
			if different && i == 1 {
				for j := range want {
					want[j].Description = "other"
				}
			}
			wg.Go(func() {
				have, err := Observe(b.ctx, b.js)
				if err == nil {
					_, err = Apply(b.ctx, b.js, Diff(want, have), Allow{})
				}
				errs[i] = err
			})
		}
		wg.Wait()
		for _, err := range errs {
			if !different && err != nil || different && err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && refusal(err) == 0 {
				t.Fatal(err)
			}
		}
		b.apply(config.Default().Streams, Allow{})
		if p := b.diff(config.Default().Streams); !p.Empty() {
			t.Fatal(text(p))
		}
	}
}

// All problems are told, each with its noun.
func TestErrorsNameWhatFailed(t *testing.T) {
	t.Parallel()
	b := start(t)
	plan := Diff([]config.Stream{stream("A", "a"), stream("B", "b"), stream("C", "c")}, Observed{})
	b.apply([]config.Stream{stream("A", "x"), stream("B", "y")}, Allow{}) // in the meantime
	done, err := Apply(b.ctx, b.js, plan, Allow{})
	if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || !strings.Contains(err.Error(), "stream A: create: ") || !strings.Contains(err.Error(), "stream B: create: ") {
		t.Error(err)
	}
	if len(done.Changes) != 1 || done.Changes[0].Stream != "C" {
		t.Error(text(done))
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := Apply(ctx, b.js, Diff([]config.Stream{stream("D", "d")}, Observed{}), Allow{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := Observe(ctx, b.js); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Consumers are brought below a stream's new limits before it has them, and above after.
func TestConsumerLimits(t *testing.T) {
	t.Parallel()
	b := start(t)
	want := []config.Stream{stream("L", "l")}
	want[0].Consumers = []jetstream.ConsumerConfig{{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}}
	for _, n := range []int{0, 10, 50, 5, 0} {
		want[0].ConsumerLimits.MaxAckPending = n
		b.apply(want, Allow{})
		if p := Diff(want, b.observe()); !p.Empty() {
			t.Fatalf("%d\n%s", n, text(p))
		}
	}
}

// A consumer that a client made without a durable name becomes the declared one, and where it was stays.
func TestEphemeralBecomesDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, inFolder(dir))
	want := declare(t, "A", "[[streams]]\nname='A'\nsubjects=['A.>']"+con)
	bare := want[0]
	bare.Consumers = nil
	b.apply([]config.Stream{bare}, Allow{})
	_, err := b.js.CreateConsumer(b.ctx, "A", jetstream.ConsumerConfig{Name: "c", AckPolicy: jetstream.AckExplicitPolicy, InactiveThreshold: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	working(b, "A")
	b.apply(want, Allow{})
	if p := b.diff(want); !p.Empty() {
		t.Fatal(text(p))
	}
	b.nc.Close()
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	again := start(t, inFolder(dir))
	if c := again.observe().Streams["A"].Consumers["c"]; c == nil || c.Info.Delivered.Stream != 2 {
		t.Fatal("gone, or back at its start, after a restart: not safe")
	}
}

// A mirror's consumer on its origin is the server's own, not somebody's that is not declared.
func TestSourcingConsumersAreNotUndeclared(t *testing.T) {
	t.Parallel()
	b := start(t)
	want := []config.Stream{stream("FROM", "f"), stream("TO", "t")}
	want[0].Retention = jetstream.InterestPolicy
	want[1].Sources = []*jetstream.StreamSource{{Name: "FROM"}}
	b.apply(want, Allow{})
	b.eventually("sourced", func() bool { return b.observe().Streams["FROM"].State.Consumers > 0 })
	if p := Diff(want, b.observe()); !p.Empty() || len(p.Undeclared) > 0 {
		t.Fatal(text(p))
	}
}
