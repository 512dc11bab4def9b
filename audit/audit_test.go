package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a bus, and a recorder of it.
type scene struct {
	*testing.T
	bus   *bustest.Bus
	js    jetstream.JetStream
	store string // of the keeper
}

func newScene(t *testing.T) *scene {
	t.Helper()
	b := bustest.Run(t, bustest.WithTCP())
	return &scene{t, b, b.JetStream(), t.TempDir()}
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) connect() (*nats.Conn, func(), error) {
	nc, err := nats.Connect(s.bus.URL(), nats.Name("recorder"))
	if err != nil {
		return nil, nil, err
	}
	return nc, nc.Close, nil
}

// record runs a recorder while f does something.
func (s *scene) record(f func(r *Recorder)) *Recorder {
	s.Helper()
	r, err := Listen(s.connect, Options{Keeper: func() (*Keeper, error) { return OpenKeeper(s.store) }})
	s.must(err)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	f(r)
	patience, stop := context.WithTimeout(s.Context(), 20*time.Second)
	defer stop()
	r.Close(patience, Bus, "stopping", nil)
	cancel()
	<-done
	return r
}

func (s *scene) entries() (out []Entry) {
	s.Helper()
	for e, err := range Read(s.Context(), s.js, time.Time{}) {
		s.must(err)
		out = append(out, e)
	}
	return out
}

// types are those of the records that there are.
func (s *scene) types() (out []string) {
	s.Helper()
	for _, e := range s.entries() {
		if e.Invalid != "" {
			s.Errorf("record %d: %s", e.Number, e.Invalid)
		}
		out = append(out, e.Event.Type)
	}
	return out
}

func (s *scene) verify(heads ...Head) Proof {
	s.Helper()
	p, err := Verify(s.Context(), s.js, heads)
	s.must(err)
	return p
}

func (s *scene) head() Head {
	s.Helper()
	h, err := ReadHead(s.store)
	s.must(err)
	return h
}

// await waits for a condition; only a failure takes long.
func (s *scene) await(what string, is func() bool) {
	s.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("waiting for %s: it did not come", what)
		}
	}
}

// What clients have JetStream do is recorded: who, what, and what was changed. What changes nothing is not.
func TestRecorder(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx := t.Context()
	nc, err := nats.Connect(s.bus.URL(), nats.Name("somebody"))
	s.must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	s.must(err)
	s.record(func(r *Recorder) {
		r.Record(Bus, "started", map[string]string{"version": "test"})
		s.await("the start", func() bool { return r.Status().Stored > 0 })
		cfg := jetstream.StreamConfig{Name: "EXTRA", Subjects: []string{"extra.>"}, Storage: jetstream.MemoryStorage}
		stream, err := js.CreateStream(ctx, cfg)
		s.must(err)
		_, err = js.CreateStream(ctx, cfg) // the same again
		s.must(err)
		cfg.MaxMsgs = 100
		_, err = js.UpdateStream(ctx, cfg)
		s.must(err)
		_, err = js.UpdateStream(ctx, cfg) // the same again
		s.must(err)
		durable := jetstream.ConsumerConfig{Durable: "engine", AckPolicy: jetstream.AckExplicitPolicy}
		_, err = stream.CreateOrUpdateConsumer(ctx, durable)
		s.must(err)
		_, err = stream.CreateOrUpdateConsumer(ctx, durable)
		s.must(err)
		durable.MaxDeliver = 7
		_, err = stream.CreateOrUpdateConsumer(ctx, durable)
		s.must(err)
		passing, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
		s.must(err)
		s.must(stream.DeleteConsumer(ctx, passing.CachedInfo().Name))
		for range 3 {
			_, err = js.Publish(ctx, "extra.secret", []byte("a payload that is nobody's business"))
			s.must(err)
		}
		_, err = stream.GetMsg(ctx, 1)
		s.must(err)
		s.must(stream.DeleteMsg(ctx, 2))
		s.must(stream.Purge(ctx, jetstream.WithPurgeSubject("extra.secret"), jetstream.WithPurgeKeep(1)))
		_, err = stream.PauseConsumer(ctx, "engine", time.Now().Add(time.Hour))
		s.must(err)
		s.must(stream.DeleteConsumer(ctx, "engine"))
		s.must(js.DeleteStream(ctx, "EXTRA"))
		audit, err := js.Stream(ctx, Stream)
		s.must(err)
		for range 5 {
			if err := audit.Purge(ctx); err == nil {
				t.Error("AUDIT can be purged")
			}
		}
	})
	want := []string{"bus.started", "stream.created", "stream.changed", "consumer.created", "consumer.changed", "message.deleted", "stream.purged",
		"jetstream.requested", "consumer.deleted", "stream.deleted", "jetstream.refused", "jetstream.refused", "bus.stopping"}
	got := s.types()
	if n := len(got); n < 2 || got[0] != want[0] || got[n-1] != want[len(want)-1] {
		t.Errorf("first and last of %q", got)
	}
	slices.Sort(got) // JetStream says what it does in nearly the order in which it does it
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%q, want\n%q", got, want)
	}
	all := ""
	for _, e := range s.entries() {
		all += string(e.Event.Data) + "\n"
	}
	for _, words := range []string{`"name":"somebody"`, `"address":"127.0.0.1"`, `{"field":"max_msgs","from":-1,"to":100}`, `{"field":"max_deliver","from":-1,"to":7}`,
		`"stream":"EXTRA","sequence":2`, `"purged":1,"subject":"extra.secret","keep":1`, `"count":4`, "purge not permitted"} {
		if !strings.Contains(all, words) {
			t.Errorf("nothing says %s:\n%s", words, all)
		}
	}
	if strings.Contains(all, "nobody's business") || strings.Contains(all, "bm9ib2R5") {
		t.Errorf("a payload is in the trail:\n%s", all)
	}
	if p := s.verify(s.head()); !p.Sound() || len(p.Chains) != 1 || p.Chains[0].Records != len(want) || !p.Chains[0].Trusted {
		t.Errorf("%+v", p)
	}
}

// A chain goes on where it ended: after a stop, and after a crash that took the memory of it.
func TestChainGoesOn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	start := func(r *Recorder) { r.Record(Bus, "started", nil) }
	s.record(start)
	s.record(start)
	s.must(os.Remove(filepath.Join(s.store, Dir, headFile)))
	_, err := s.js.Publish(t.Context(), "events.audit.stream.viewed", []byte("an event of a service on such a subject"))
	s.must(err)
	s.record(start)
	p := s.verify(s.head())
	if !p.Sound() || len(p.Chains) != 1 || p.Chains[0].First != 1 || p.Chains[0].Last != 6 {
		t.Errorf("%+v", p)
	}
	s.store = t.TempDir() // another machine's, as a cluster has several
	s.record(start)
	if p := s.verify(); !p.Sound() || len(p.Chains) != 2 {
		t.Errorf("%+v", p)
	}
	if p := s.verify(s.head()); p.Sound() { // to whom the first chain is a stranger's
		t.Errorf("%+v", p)
	}
}

// Whatever is done to the records is found, and where it was done.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.record(func(r *Recorder) {
		for i := range 5 {
			r.Record(Bus, "started", map[string]int{"n": i})
		}
	})
	stream, err := s.js.Stream(t.Context(), Stream)
	s.must(err)
	cfg := stream.CachedInfo().Config
	var was []*jetstream.RawStreamMsg
	for seq := uint64(1); seq <= 6; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		s.must(err)
		was = append(was, m)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	s.must(err)
	head := s.head()
	for _, tc := range []struct {
		name  string
		do    func(m []*nats.Msg) []*nats.Msg
		first uint64
		want  string // of the break; empty: none
	}{
		{"nothing", func(m []*nats.Msg) []*nats.Msg { return m }, 0, ""},
		{"altered", func(m []*nats.Msg) []*nats.Msg {
			m[2].Data = []byte(strings.Replace(string(m[2].Data), `"n":2`, `"n":9`, 1))
			return m
		}, 0, "AUDIT #3: record 3 was altered"},
		{"another number", func(m []*nats.Msg) []*nats.Msg {
			m[2].Header.Set(headNumber, "7")
			return m
		}, 0, "AUDIT #3: record 7 was altered"},
		{"one missing", func(m []*nats.Msg) []*nats.Msg { return slices.Delete(m, 2, 3) }, 0, "AUDIT #3: record 3 is missing"},
		{"more missing", func(m []*nats.Msg) []*nats.Msg { return slices.Delete(m, 1, 4) }, 0, "AUDIT #2: records 2 to 4 are missing"},
		{"reordered", func(m []*nats.Msg) []*nats.Msg { m[1], m[2] = m[2], m[1]; return m }, 0, "AUDIT #2: record 2 is missing"},
		{"moved to the end", func(m []*nats.Msg) []*nats.Msg { return append(m, m[0]) }, 0, "AUDIT #7: record 1 stands behind record 6"},
		{"twice", func(m []*nats.Msg) []*nats.Msg { return append(m, m[5]) }, 0, "AUDIT #7: record 6 is there twice"},
		{"the front expired", func(m []*nats.Msg) []*nats.Msg { return m[2:] }, 3, ""},
		{"the front removed", func(m []*nats.Msg) []*nats.Msg { return m[2:] }, 0, "AUDIT #1: records 1 to 2 are missing, and nothing has expired"},
		{"the end removed", func(m []*nats.Msg) []*nats.Msg { return m[:4] }, 0, "AUDIT #4: the last one is record 4, and records up to 6 were stored"},
		{"all removed", func(m []*nats.Msg) []*nats.Msg { return nil }, 0, "records up to 6 were stored"},
		{"made up by somebody", func(m []*nats.Msg) []*nats.Msg {
			forged := nats.NewMsg(m[5].Subject)
			forged.Data = m[5].Data
			l, _, err := readLink(m[5].Subject, m[5].Header, m[5].Data)
			s.must(err)
			l.after(stranger, forged.Subject, forged.Data).header(forged.Header)
			return append(m, forged)
		}, 0, "it is signed with another key"},
		{"with the bus's key, and another's seal", func(m []*nats.Msg) []*nats.Msg {
			m[5].Header.Set(headSeal, strings.Repeat("A", 86))
			return m
		}, 0, "AUDIT #6: record 6 was altered"},
		{"without a seal", func(m []*nats.Msg) []*nats.Msg {
			m[5].Header = nil
			return m
		}, 0, "has the bus as its source and is not signed by it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m []*nats.Msg
			for _, w := range was {
				h := nats.Header{}
				for k, v := range w.Header {
					if strings.HasPrefix(k, "Deltran-") {
						h[k] = v
					}
				}
				m = append(m, &nats.Msg{Subject: w.Subject, Header: h, Data: w.Data})
			}
			s.must(s.js.DeleteStream(t.Context(), Stream))
			cfg.FirstSeq = tc.first
			_, err := s.js.CreateStream(t.Context(), cfg)
			s.must(err)
			for _, m := range tc.do(m) {
				_, err := s.js.PublishMsg(t.Context(), m)
				s.must(err)
			}
			p := s.verify(head)
			var found []string
			for _, c := range p.Chains {
				if c.Break != nil {
					found = append(found, c.Break.String())
				}
			}
			for _, b := range p.Foul {
				found = append(found, b.String())
			}
			if p.Sound() != (tc.want == "") || !strings.Contains(strings.Join(found, "\n"), tc.want) {
				t.Errorf("found %q, want %q", found, tc.want)
			}
		})
	}
}

// What does not fit is counted, and the count is recorded. Nothing waits for it.
func TestQueue(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := Listen(s.connect, Options{Queue: 10})
	s.must(err)
	for i := range 25 {
		r.Record(Bus, "reloaded", map[string]int{"n": i})
	}
	if st := r.Status(); st.Waiting != 10 || st.Missed != 15 {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	s.await("all to be stored", func() bool { return r.Status().Stored == 11 })
	cancel()
	<-done
	i := slices.Index(s.types(), "audit.incomplete")
	if i < 0 || !strings.Contains(string(s.entries()[i].Event.Data), `"missed":15`) {
		t.Errorf("%v", s.types())
	}
	if p := s.verify(); !p.Sound() {
		t.Errorf("%+v", p)
	}
}

// A full AUDIT keeps records waiting, and stops nothing; when there is room they are stored.
func TestFullStream(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	stream, err := s.js.Stream(t.Context(), Stream)
	s.must(err)
	cfg := stream.CachedInfo().Config
	full := cfg
	full.MaxBytes = 1
	_, err = s.js.UpdateStream(t.Context(), full)
	s.must(err)
	s.record(func(r *Recorder) {
		r.Record(Bus, "started", nil)
		s.await("it to say so", func() bool { return strings.Contains(r.Status().Failing, "maximum bytes exceeded") })
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		r.Close(short, Bus, "stopping", nil) // which gives up
		_, err = s.js.UpdateStream(t.Context(), cfg)
		s.must(err)
		s.await("it to be well", func() bool { return r.Status().Failing == "" && r.Status().Stored > 0 })
	})
	if got := s.types(); !slices.Equal(got[:1], []string{"bus.started"}) {
		t.Errorf("%v", got)
	}
}

// Somebody takes AUDIT away while the bus runs: the chain goes on with the next number, and that something is missing shows.
func TestStreamTakenAway(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	stream, err := s.js.Stream(t.Context(), Stream)
	s.must(err)
	cfg := stream.CachedInfo().Config
	s.record(func(r *Recorder) {
		r.Record(Bus, "started", nil)
		s.await("the start", func() bool { return r.Status().Stored == 1 })
		s.must(s.js.DeleteStream(t.Context(), Stream))
		s.await("it to say so", func() bool { return r.Status().Failing != "" })
		_, err := s.js.CreateStream(t.Context(), cfg)
		s.must(err)
	})
	if got := s.types(); !slices.Equal(got, []string{"stream.deleted", "stream.created", "bus.stopping"}) {
		t.Errorf("%v", got)
	}
	if p := s.verify(s.head()); len(p.Chains) != 1 || p.Chains[0].Break == nil || !strings.Contains(p.Chains[0].Break.What, "records 1 to 1 are missing") {
		t.Errorf("%+v", p)
	}
}

// Records that are gone at the start are missed then, and the chain says so itself.
func TestGoneAtStart(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.record(func(r *Recorder) { r.Record(Bus, "started", nil) })
	stream, err := s.js.Stream(t.Context(), Stream)
	s.must(err)
	cfg := stream.CachedInfo().Config
	s.must(s.js.DeleteStream(t.Context(), Stream))
	_, err = s.js.CreateStream(t.Context(), cfg)
	s.must(err)
	s.record(func(r *Recorder) { r.Record(Bus, "started", nil) })
	if got := s.types(); !slices.Equal(got, []string{"audit.incomplete", "bus.started", "bus.stopping"}) {
		t.Errorf("%v", got)
	}
	if e := s.entries()[0]; e.Number != 3 || !strings.Contains(string(e.Event.Data), `"gone":2`) {
		t.Errorf("record %d: %s", e.Number, e.Event.Data)
	}
}

// The records since a time are those that were stored since.
func TestReadSince(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.record(func(r *Recorder) {
		for i := range 20 {
			r.Record(Bus, "reloaded", map[string]int{"n": i})
		}
	})
	all := s.entries()
	for i, e := range all {
		n := 0
		for _, err := range Read(t.Context(), s.js, e.Stored) {
			s.must(err)
			n++
		}
		if n != len(all)-i {
			t.Errorf("%d records since the %d. of %d", n, i+1, len(all))
		}
	}
	for _, err := range Read(t.Context(), s.js, time.Now().Add(time.Hour)) {
		t.Errorf("one from the time to come, %v", err)
	}
}

// A connection that nats.go has given up is made anew, and that something may not have been heard is recorded.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r, err := Listen(s.connect, Options{Repeats: time.Second})
	s.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	r.Record(Bus, "started", nil)
	s.await("the start", func() bool { return r.Status().Stored == 1 })
	first := r.conn.nc
	first.Close()
	s.await("that it is told", func() bool { return r.Status().Stored == 2 })
	cancel()
	<-done
	if got := s.types(); !slices.Equal(got, []string{"bus.started", "audit.incomplete"}) {
		t.Errorf("%v", got)
	}
}

// What is only read is left out before it is decoded, and no client can make up a request that looks like that.
func TestIdle(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]bool{
		"$JS.API.INFO": true, "$JS.API.STREAM.INFO.A": true, "$JS.API.STREAM.MSG.GET.A": true, "$JS.API.CONSUMER.LIST.A": true,
		"$JS.API.STREAM.INFORMER.A": false, "$JS.API.STREAM.PURGE.A": false, "$JS.API.STREAM.MSG.DELETE.A": false, "$JS.API.STREAM.RESTORE.A": false,
	} {
		for _, name := range []string{"", `","subject":"$JS.API.INFO`, `subject":"$JS.API.STREAM.INFO.A"`} {
			a := map[string]any{"client": map[string]string{"name": name}, "subject": subject}
			b, err := json.Marshal(struct {
				Client  any `json:"client"`
				Subject any `json:"subject"`
			}{a["client"], subject})
			if err != nil {
				t.Fatal(err)
			}
			if got := idle(b); got != want {
				t.Errorf("%s: %t", b, got)
			}
		}
	}
}

func TestCaptured(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		subjects string
		want     bool
	}{
		{"events.audit.* events.audit.*.>", true}, {"events.audit.>", true}, {"events.>", true}, {"events.audit.*", false}, {"events.audit.bus.*", false}, {"", false},
	} {
		if got := Captured(strings.Fields(tc.subjects)); got != tc.want {
			t.Errorf("%s: %s", tc.subjects, strconv.FormatBool(got))
		}
	}
}
