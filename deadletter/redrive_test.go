package deadletter_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bustest"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func open(t *testing.T, bus *bustest.Bus) *deadletter.Letters {
	t.Helper()
	ls, err := deadletter.Open(t.Context(), bus.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// A redriven message is what it was, says where it was, and is stored although its id is known; a redrive that was killed
// before the letter was erased does not store it twice.
func TestRedrive(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	collect(t, bus, deadletter.Options{})
	refuse(t, bus, &nats.Msg{Subject: "events.payments.made", Data: []byte(`{"amount": 1000.00}`), Header: nats.Header{
		nats.MsgIdHdr: {"id-1"}, "X-Trace": {"7"}, nats.ExpectedLastSubjSeqHdr: {"0"}, "Nats-Rollup": nil,
	}}, "")
	l := letters(t, bus, 1)[0]
	ls := open(t, bus)
	for range 2 { // the second time as after a kill: the letter was read before
		ack, err := ls.Redrive(t.Context(), l, false)
		if err != nil || ack.Stream != "PAYMENTS" || ack.Sequence != 2 {
			t.Fatalf("%+v %v", ack, err)
		}
	}
	got := stored(t, bus, "PAYMENTS", "events.payments.made")
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	h := got[1].Header
	if string(got[1].Data) != `{"amount": 1000.00}` || h.Get("X-Trace") != "7" || h.Get(deadletter.RedrivenFrom) != "PAYMENTS/ledger/1" ||
		h.Get(deadletter.RedrivenMsgID) != "id-1" || h.Get(nats.ExpectedLastSubjSeqHdr) != "" {
		t.Errorf("%+v", got[1])
	}
	letters(t, bus, 0)
	r := records(t, bus, "redriven")
	if len(r) != 1 || !reflect.DeepEqual(r[0]["to"], map[string]any{"stream": "PAYMENTS", "sequence": 2.}) || r[0]["letter"] != "PAYMENTS/ledger/1" {
		t.Errorf("%v", r)
	}
	if n := len(stored(t, bus, deadletter.Stream, "deadletters.>")); n != 0 {
		t.Errorf("%d letters left", n)
	}

	// Given up again it is another letter, and knows its first id still.
	if err := fetch(t, bus, 1)[0].Term(); err != nil {
		t.Fatal(err)
	}
	l = letters(t, bus, 1)[0]
	if _, err := open(t, bus).Redrive(t.Context(), l, false); err != nil {
		t.Fatal(err)
	}
	got = stored(t, bus, "PAYMENTS", "events.payments.made")
	if h := got[2].Header; h.Get(deadletter.RedrivenFrom) != "PAYMENTS/ledger/2" || h.Get(deadletter.RedrivenMsgID) != "id-1" {
		t.Errorf("%+v", h)
	}
}

// Who else would get it is known before.
func TestTarget(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	collect(t, bus, deadletter.Options{})
	refuse(t, bus, nats.NewMsg("events.payments.made"), "")
	l := letters(t, bus, 1)[0]
	ls := open(t, bus)
	target := func() deadletter.Target {
		t.Helper()
		got, err := ls.Target(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := target(); got.Stream != "PAYMENTS" || got.Gone || got.Others != nil {
		t.Errorf("%+v", got)
	}
	for name, filter := range map[string]string{"all": "", "wide": "events.payments.*", "other": "events.payments.refunded", "deep": "events.payments.*.>"} {
		if _, err := js.CreateConsumer(t.Context(), "PAYMENTS", jetstream.ConsumerConfig{Durable: name, FilterSubject: filter}); err != nil {
			t.Fatal(err)
		}
	}
	if got := target(); !slices.Equal(got.Others, []string{"all", "wide"}) {
		t.Errorf("%+v", got)
	}
	if err := js.DeleteConsumer(t.Context(), "PAYMENTS", "ledger"); err != nil {
		t.Fatal(err)
	}
	if !target().Gone {
		t.Error("it is gone")
	}
	for i, cfg := range []jetstream.StreamConfig{{Name: "M", Mirror: &jetstream.StreamSource{Name: "PAYMENTS"}}, {Name: "S", Sources: []*jetstream.StreamSource{{Name: "PAYMENTS"}}}, {Name: "X"}} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		copied := l
		copied.ID.Stream = cfg.Name
		if got, err := ls.Target(t.Context(), copied); err != nil || got.Stream != "PAYMENTS" || got.Gone != (i == 2) { // a copy gets it
			t.Errorf("%s: %+v %v", cfg.Name, got, err)
		}
	}
	if err := js.DeleteStream(t.Context(), "PAYMENTS"); err != nil {
		t.Fatal(err)
	}
	if _, err := ls.Target(t.Context(), l); !errors.Is(err, deadletter.ErrNoStream) || !strings.HasSuffix(err.Error(), ": events.payments.made") {
		t.Errorf("%v", err)
	}
	letters(t, bus, 1)
}

// What says that a letter is gone cannot be redriven, only dismissed.
func TestNothingToRedrive(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	js := bus.JetStream()
	refuse(t, bus, nats.NewMsg("events.payments.made"), "")
	captured(t, bus, 1)
	if err := js.DeleteStream(t.Context(), "PAYMENTS"); err != nil {
		t.Fatal(err)
	}
	collect(t, bus, deadletter.Options{})
	l := letters(t, bus, 1)[0]
	ls := open(t, bus)
	if _, err := ls.Redrive(t.Context(), l, false); err == nil || !strings.Contains(err.Error(), "there is nothing to redrive: stream PAYMENTS was gone") {
		t.Errorf("%v", err)
	}
	for range 2 { // the second time it is gone already
		if err := ls.Dismiss(t.Context(), l, "nobody misses it"); err != nil {
			t.Fatal(err)
		}
	}
	letters(t, bus, 0)
	if r := records(t, bus, "dismissed"); len(r) != 1 || r[0]["reason"] != "nobody misses it" || r[0]["missing"] != l.Missing {
		t.Errorf("%v", r)
	}
	if _, err := ls.Get(t.Context(), l.ID.String()); !errors.Is(err, deadletter.ErrNone) {
		t.Errorf("%v", err)
	}
}

// Letters are chosen by consumer and time, and counted.
func TestSelect(t *testing.T) {
	t.Parallel()
	bus := bustest.Run(t, bustest.WithTOML(payments))
	c, _ := collect(t, bus, deadletter.Options{})
	for range 3 {
		refuse(t, bus, nats.NewMsg("events.payments.made"), "")
	}
	all := letters(t, bus, 3)
	ls := open(t, bus)
	for i, x := range []struct {
		q    deadletter.Query
		want int
	}{
		{deadletter.Query{Stream: "PAYMENTS"}, 3},
		{deadletter.Query{Consumer: "ledger"}, 3},
		{deadletter.Query{Stream: "PAYMENTS", Consumer: "other"}, 0},
		{deadletter.Query{Since: all[1].GivenUp}, 2},
		{deadletter.Query{Until: all[1].GivenUp}, 1},
		{deadletter.Query{Since: all[1].GivenUp, Until: all[2].GivenUp}, 1},
		{deadletter.Query{Since: all[2].GivenUp.Add(time.Hour)}, 0},
	} {
		n := 0
		for _, err := range ls.Select(t.Context(), x.q) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != x.want {
			t.Errorf("%d: %d letters, not %d", i, n, x.want)
		}
	}
	sums, err := ls.Summaries(t.Context())
	if err != nil || len(sums) != 1 || sums[0].Letters != 3 || !sums[0].Oldest.Equal(all[0].GivenUp) || !sums[0].Newest.Equal(all[2].GivenUp) {
		t.Errorf("%+v %v", sums, err)
	}
	await(t, func() error {
		if s := c.Status(); !reflect.DeepEqual(s, deadletter.Status{Letters: []deadletter.Count{{Stream: "PAYMENTS", Consumer: "ledger", Letters: 3}}}) {
			return errors.New("not counted yet")
		}
		return nil
	})
}
