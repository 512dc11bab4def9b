package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// insufficient is JetStream's error for a store that is full as a whole.
const insufficient jetstream.ErrorCode = 10023

// refused reports whether a publish got JetStream's own error, and not a timeout or anything else.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == insufficient
}

const keepsAll = "[bus]\nmin_free = \"99.99%\"\n" // no volume has so much free that a test runs on

// Whoever publishes gets JetStream's error, whatever way it publishes; everything else goes on, and people can make
// room.
func TestTooLittleFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	more := `
[[streams]]
name = "HOT"
subjects = ["hot.>"]
storage = "memory"
[[streams]]
name = "BATCHES"
subjects = ["batches.>"]
allow_atomic = true
[[streams]]
name = "COPY"
mirror = { name = "HOT" }
[[streams]]
name = "MIX"
sources = [{ name = "HOT" }]
`
	s := start(t, at(t, dir, toml(more)))
	ctx := context.Background()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js := over(t, nc)
	publish(t, js, "events.risk.x", 10)
	publish(t, js, "events.notifications.x", 10)
	publish(t, js, "hot.x", 10)
	copied := func(n uint64) func() bool {
		return func() bool { return messages(t, js, "COPY") == n && messages(t, js, "MIX") == n }
	}
	until(t, "the copies have what there is", copied(10))

	if err := s.Reload(ctx, at(t, dir, toml(more+keepsAll))); err != nil {
		t.Fatal(err)
	}
	until(t, "publishes are refused", func() bool { return s.State().Space.Refusing != "" })
	if st := s.State(); !strings.Contains(st.Space.Refusing, "min_free") || !strings.Contains(st.Space.Refusing, dir) || st.Space.Keep == 0 || st.Phase != server.Serving {
		t.Errorf("%+v", st.Space)
	}
	if _, err := js.Publish(ctx, "events.risk.x", nil); !refused(err) {
		t.Errorf("publish: %v", err)
	}
	f, err := js.PublishAsync("events.risk.x", nil)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-f.Err():
		if !refused(err) {
			t.Errorf("asynchronous publish: %v", err)
		}
	case <-f.Ok():
		t.Error("an asynchronous publish was taken")
	}
	old, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	var api *nats.APIError
	if _, err := old.Publish("events.risk.x", nil); !errors.As(err, &api) || api.ErrorCode != nats.ErrorCode(insufficient) {
		t.Errorf("the older API's publish: %v", err)
	}
	if ack, err := batch(nc, "batches.x", "refused", 5); err != nil || ack.Error == nil || ack.Error.ErrorCode != insufficient {
		t.Errorf("batch: %+v, %v", ack, err)
	}
	publish(t, js, "hot.x", 5)

	con, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
	if err != nil {
		t.Fatal(err)
	}
	got, err := con.Fetch(10)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range got.Messages() {
		if err := m.DoubleAck(ctx); err != nil {
			t.Error(err)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d of 10 messages came: %v", n, got.Error())
	}
	risk, err := js.Stream(ctx, "RISK")
	if err != nil {
		t.Fatal(err)
	}
	shorter := risk.CachedInfo().Config
	shorter.MaxAge /= 2
	_, update := js.UpdateStream(ctx, shorter)
	_, create := js.CreateStream(ctx, jetstream.StreamConfig{Name: "MORE", Subjects: []string{"more.>"}, MaxBytes: 1 << 20})
	_, consumer := risk.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "late"})
	for what, err := range map[string]error{
		"update": update, "create": create, "consumer": consumer, "delete a message": risk.DeleteMsg(ctx, 1),
		"purge": risk.Purge(ctx, jetstream.WithPurgeKeep(1)), "delete": js.DeleteStream(ctx, "MORE"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := js.Publish(ctx, "events.risk.x", nil); !refused(err) {
		t.Errorf("publish after a purge: %v", err)
	}

	// What raises nats-server's own limit must not let anybody in.
	if err := s.Reload(ctx, at(t, dir, toml(more+keepsAll+"[nats.jetstream]\nmax_file_store = \"20GB\"\n"))); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := js.Publish(ctx, "events.risk.x", nil); !refused(err) {
			t.Fatalf("publish after a reload: %v", err)
		}
	}

	if err := s.Reload(ctx, at(t, dir, toml(more+"[nats.jetstream]\nmax_file_store = \"20GB\"\n[bus]\nmin_free = \"0\"\n"))); err != nil {
		t.Fatal(err)
	}
	until(t, "publishes are taken again", func() bool { _, err := js.Publish(ctx, "events.risk.x", nil); return err == nil })
	until(t, "and it is said", func() bool { return s.State().Space.Refusing == "" })
	until(t, "the copies have what came meanwhile", copied(15))
	if st := s.State().Space; st.Restarts != 0 || st.WriteErrors != 0 || st.Since.IsZero() {
		t.Errorf("%+v", st)
	}
	if v, err := s.NATS().Varz(nil); err != nil || v.JetStream.Config.MaxStore != 20<<30 {
		t.Errorf("max_file_store is %d, %v", v.JetStream.Config.MaxStore, err)
	}
}

// A bus that finds too little room when it starts comes up, and is read from.
func TestStartWithTooLittleFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.risk.x", 3)
	stop(t, s)
	s = start(t, at(t, dir, toml(keepsAll)))
	if s.State().Space.Refusing == "" {
		t.Error("nothing is said")
	}
	if _, err := js(t, s).Publish(context.Background(), "events.risk.x", nil); !refused(err) {
		t.Errorf("publish: %v", err)
	}
	if n := messages(t, js(t, s), "RISK"); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// Refusing falls in the middle of a commit sooner or later. What is half there is completed, at once.
func TestRefusingCutsNoBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	more := "[nats.jetstream]\nsync_interval = \"2m\"\n[[streams]]\nname = \"BATCHES\"\nsubjects = [\"batches.>\"]\nallow_atomic = true\n"
	open, shut := at(t, dir, toml(more+"[bus]\nmin_free = \"0\"\n")), at(t, dir, toml(more+keepsAll))
	s := start(t, open)
	ctx := context.Background()
	nc, err := nats.Connect(s.ClientURL(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1), quietly)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const size = 1000
	quit := make(chan struct{})
	var publishers sync.WaitGroup
	var mu sync.Mutex
	acked := map[string]bool{}
	for p := range 3 {
		publishers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", p, i)
				if ack, err := batch(nc, "batches.x", id, size); err == nil && ack.Error == nil {
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			}
		})
	}
	own := js(t, s)
	last := func() (m *jetstream.RawStreamMsg, err error) {
		st, err := own.Stream(ctx, "BATCHES")
		if err != nil {
			return nil, err
		}
		return st.GetMsg(ctx, st.CachedInfo().State.LastSeq)
	}
	cut := false
	for range 100 {
		before := messages(t, own, "BATCHES")
		until(t, "a batch has come in", func() bool { return messages(t, own, "BATCHES") > before })
		for range rand.IntN(100_000) { // somewhere in the next
			runtime.Gosched()
		}
		if err := s.Reload(ctx, shut); err != nil {
			t.Fatal(err)
		}
		until(t, "publishes are refused", func() bool { return s.State().Space.Refusing != "" })
		m, err := last()
		restarted := s.State().Space.Restarts > 0 || s.State().Phase != server.Serving // it has seen it before us
		if cut = restarted || err == nil && m.Header.Get("Nats-Batch-Commit") == ""; cut {
			break
		}
		if err := s.Reload(ctx, open); err != nil {
			t.Fatal(err)
		}
		until(t, "publishes are taken again", func() bool { return s.State().Space.Refusing == "" })
	}
	if !cut {
		t.Fatal("no commit was cut in 100 tries: this test shows nothing any more")
	}
	until(t, "the batch is whole", func() bool {
		st := s.State()
		if st.Phase != server.Serving || st.Space.Restarts == 0 {
			return false
		}
		own = js(t, s)
		m, err := last()
		return err == nil && m.Header.Get("Nats-Batch-Commit") != ""
	})
	if st := s.State(); st.Space.Refusing == "" || st.Err != nil {
		t.Errorf("after the start anew: %+v", st.Space)
	}
	if err := s.Reload(ctx, open); err != nil {
		t.Fatal(err)
	}
	close(quit)
	publishers.Wait()

	found := map[string]int{}
	st, err := own.Stream(ctx, "BATCHES")
	if err != nil {
		t.Fatal(err)
	}
	con, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for left := int(st.CachedInfo().State.Msgs); left > 0; {
		got, err := con.Fetch(min(left, 1000))
		if err != nil {
			t.Fatal(err)
		}
		for m := range got.Messages() {
			found[m.Headers().Get("Nats-Batch-Id")]++
			left--
		}
	}
	for id, n := range found {
		if n != size {
			t.Errorf("%s has %d of %d messages", id, n, size)
		}
	}
	for id := range acked {
		if found[id] != size {
			t.Errorf("%s was acknowledged and is not there", id)
		}
	}
	t.Logf("%d batches, %d acknowledged", len(found), len(acked))
}

// ack is the answer to a publish.
type ack struct {
	Stream string              `json:"stream"`
	Seq    uint64              `json:"seq"`
	Error  *jetstream.APIError `json:"error"`
}

// batch publishes n messages as one atomic batch.
func batch(nc *nats.Conn, subject, id string, n int) (a ack, err error) {
	for i := 1; i <= n; i++ {
		m := nats.NewMsg(subject)
		m.Data = make([]byte, 100)
		m.Header.Set("Nats-Batch-Id", id)
		m.Header.Set("Nats-Batch-Sequence", fmt.Sprint(i))
		if i == n {
			m.Header.Set("Nats-Batch-Commit", "1")
		}
		if i > 1 && i < n {
			if err := nc.PublishMsg(m); err != nil {
				return a, err
			}
			continue
		}
		r, err := nc.RequestMsg(m, time.Second)
		if err != nil {
			return a, err
		}
		if len(r.Data) > 0 {
			if err := json.Unmarshal(r.Data, &a); err != nil || a.Error != nil {
				return a, err
			}
		}
	}
	return a, nil
}

// A volume is looked at the less often the more of it is free: each look costs, and wakes the process.
func TestLooksLessOftenTheMoreIsFree(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for free, want := range map[uint64]time.Duration{
		0: time.Millisecond, 1 << 20: time.Millisecond, gib: 125 * time.Millisecond, 4 * gib: 500 * time.Millisecond,
		8 * gib: time.Second, 45 * gib: time.Second, 100 << 40: time.Second, math.MaxUint64: time.Second,
	} {
		if got := server.PauseAt(free); got != want {
			t.Errorf("with %d bytes free the next look is after %v; want %v", free, got, want)
		}
	}
}
