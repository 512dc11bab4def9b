package bootstrap

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deltran/deltran-bus/config"
)

// The same input gives the same plan, and the input stays as it was.
func TestDiffIsPure(t *testing.T) {
	t.Parallel()
	want := config.Default().Streams
	have := observedAs(want[:4])
	for i := range want {
		want[i].MaxMsgs = 5
	}
	have.Streams["X"] = &Stream{Config: jetstream.StreamConfig{Name: "X", Subjects: []string{"x", "a"}}}
	before, _ := json.Marshal(want)
	first := Diff(want, have)
	for range 20 {
		if again := Diff(want, have); text(again) != text(first) {
			t.Fatalf("%s\n%s", text(first), text(again))
		}
	}
	if after, _ := json.Marshal(want); string(after) != string(before) {
		t.Error("the declaration has changed")
	}
	var back Plan
	if b, err := json.Marshal(first); err != nil || json.Unmarshal(b, &back) != nil || text(back) == "" {
		t.Error(err)
	}
}

// observedAs is what a server would show of declared streams.
func observedAs(want []config.Stream) Observed {
	have := Observed{Streams: map[string]*Stream{}}
	for _, s := range want {
		o := &Stream{Config: normalStream(s.StreamConfig, have.Limits, nil), Consumers: map[string]*Consumer{}}
		for _, c := range s.Consumers {
			o.Consumers[nameOf(c)] = &Consumer{Config: normalConsumer(c, s.ConsumerLimits, have.Limits), Info: jetstream.ConsumerInfo{Name: nameOf(c)}}
		}
		have.Streams[s.Name] = o
	}
	return have
}

// Whatever a server may show and a file may say, Diff and what is made of its plan end, without a panic.
func FuzzDiff(f *testing.F) {
	for _, s := range []string{`{"name":"A"}`, `{"name":"A","mirror":{"name":"A"},"sources":[null]}`,
		`{"name":"A","subjects":["a.>",""],"retention":"workqueue","max_age":-5,"consumers":[{"durable_name":"c","filter_subjects":[">",">"]}]}`,
		`{"name":"A","sealed":true,"subject_delete_marker_ttl":1,"consumers":[{"backoff":[1],"filter_subject":"x"}]}`} {
		f.Add([]byte(s), []byte(`{"name":"A","subjects":["a.b"],"consumers":[{"durable_name":"c"}]}`), true)
	}
	f.Fuzz(func(t *testing.T, have, want []byte, loss bool) {
		var h, w config.Stream
		if json.Unmarshal(have, &h) != nil || json.Unmarshal(want, &w) != nil {
			t.Skip()
		}
		o := Observed{Streams: map[string]*Stream{}}
		s := &Stream{Config: h.StreamConfig, Consumers: map[string]*Consumer{}, raw: have, State: jetstream.StreamState{Msgs: 1, LastSeq: 1}}
		for _, c := range h.Consumers {
			s.Consumers[nameOf(c)] = &Consumer{Config: c, Info: jetstream.ConsumerInfo{Name: nameOf(c)}}
		}
		o.Streams[h.Name] = s
		p := Diff([]config.Stream{w}, o)
		allow := Allow{loss, !loss}
		_ = text(p)
		_, _ = text(p.Held(allow)), text(p.Doable(allow))
		order(api{}.steps(p, allow))
		update := fieldsOf(w.StreamConfig)
		if update != nil {
			keepUnknown(update, object(have), fieldsOf(h.StreamConfig))
		}
	})
}

func TestCovered(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		subject string
		by      []string
		want    bool
	}{
		{"a.>", []string{"a.*", "a.*.>"}, true},
		{"a.>", []string{"a.*"}, false},
		{"a.>", []string{"a.*", "a.*.*", "a.*.*.>"}, true},
		{">", []string{"*", "*.>"}, true},
		{"a.b", []string{"a.*"}, true},
		{"a.*", []string{"a.b"}, false},
	} {
		if got := covered(tc.subject, tc.by); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	want := config.Default().Streams
	have := observedAs(want)
	if p := Diff(want, have); !p.Empty() || len(p.Undeclared) > 0 {
		b.Fatal(text(p))
	}
	b.ReportAllocs()
	for b.Loop() {
		Diff(want, have)
	}
}

func BenchmarkWarmStart(b *testing.B) {
	bus := start(b)
	want := config.Default().Streams
	bus.apply(want, Allow{})
	for b.Loop() {
		if p := Diff(want, bus.observe()); !p.Empty() {
			b.Fatal(text(p))
		}
	}
}

func BenchmarkColdStart(b *testing.B) {
	want := config.Default().Streams
	bus := start(b)
	for b.Loop() {
		if _, err := Apply(bus.ctx, bus.js, Diff(want, bus.observe()), Allow{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		for _, s := range want[1:] { // all but one: nats-server may remove an empty folder under a new stream
			if err := bus.js.DeleteStream(bus.ctx, s.Name); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
}
