package bootstrap

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

// max_age is weighed by sequence, exactly, also with gaps, and on streams that take no second consumer.
func TestWeighAge(t *testing.T) {
	t.Parallel()
	b := start(t)
	for _, retention := range []jetstream.RetentionPolicy{jetstream.LimitsPolicy, jetstream.WorkQueuePolicy} {
		s := stream(unique(), "age."+retention.String())
		s.Retention = retention
		s.Consumers = []jetstream.ConsumerConfig{{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}}
		b.apply([]config.Stream{s}, Allow{})
		b.publish(s.Subjects[0], 7)
		old := b.observe().Streams[s.Name].State.LastTime
		b.eventually("old", func() bool { return time.Since(old) > 400*time.Millisecond })
		b.publish(s.Subjects[0], 3)
		str, err := b.js.Stream(b.ctx, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range []uint64{3, 5, 9} {
			if err := str.DeleteMsg(b.ctx, seq); err != nil {
				t.Fatal(err)
			}
		}
		s.MaxAge, s.Duplicates = 200*time.Millisecond, 200*time.Millisecond
		p := b.weighed([]config.Stream{s})
		if f := p.field("max_age"); f == nil || f.Class != Loses || f.Cost.Messages != 5 || f.Cost.Estimate || f.Cost.Oldest.IsZero() || f.Cost.Age < 200*time.Millisecond {
			t.Errorf("%s: %s", retention, text(p))
		}
		if n := len(b.observe().Streams[s.Name].Consumers); n != 1 {
			t.Errorf("%d consumers left behind", n)
		}
	}
}

func TestWeighPages(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ msgs, bytes, limit, want uint64 }{{10, 1000, 500, 5}, {10, 1000, 999, 1}, {10, 1000, 1000, 0}, {1 << 60, 1 << 62, 1, 1 << 60}} {
		if got := share(jetstream.StreamState{Msgs: tc.msgs, Bytes: tc.bytes}, int64(tc.limit)); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	have := stream("NOTIFICATIONS", "n.>")
	have.MaxAge, have.MaxBytes = 30*24*time.Hour, 8<<20
	want := have
	want.MaxAge, want.MaxBytes, want.Description = 7*24*time.Hour, -1, "x"
	created := stream("NEW", "new.*", "new.*.>")
	p := Diff([]config.Stream{want, created}, Observed{Streams: map[string]*Stream{
		"NOTIFICATIONS": {Config: have.StreamConfig, State: jetstream.StreamState{Msgs: 5, FirstSeq: 1, LastSeq: 5}},
		"OTHER":         {Config: jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"o"}}},
	}})
	p.field("max_age").Cost = &Cost{Messages: 1204, Age: 6*24*time.Hour + 3*time.Hour + time.Minute}
	const golden = `stream NEW: create  new.* new.*.>
stream NOTIFICATIONS: update
    description  - → x            safe
    max_age      30d → 7d         loses 1,204 messages, the oldest 6d3h old: older messages are deleted
    max_bytes    8MB → unlimited  safe
stream OTHER: not declared, left alone
1 to create, 1 to update, of which loses 1; 1 not declared
`
	if got := text(p); got != golden {
		t.Errorf("got\n%s\nwant\n%s", got, golden)
	}
	if got := text(Plan{}); got != "no difference\n" {
		t.Error(got)
	}
}
