//go:build unix

package main

import (
	"context"
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	giveUps     = flag.Int("giveups", 500, "how many messages TestDeadLettersOverKills has given up on")
	giveUpKills = flag.Int("giveupkills", 3, "how often it kills the bus meanwhile")
)

// A consumer gives up on everything, one half by max_deliver and the other by Term, as fast as it goes, and the bus is killed
// meanwhile, again and again. Whatever the moment: every advisory that AUDIT has ends as one letter and one record, and every
// letter has its message. What AUDIT does not have is told apart by a subscriber who hears the advisories as well: it was on
// its way into AUDIT, or had not left the consumer; docs/dead-letters.md says of it that JetStream does not repeat it.
func TestDeadLettersOverKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	site := filepath.Join(dir, "site.toml")
	if err := os.WriteFile(site, []byte(`
[[streams]]
name = "PAYMENTS"
subjects = ["events.payments.*"]
max_age = "1h"
max_bytes = "64MB"
discard = "new"
  [[streams.consumers]]
  name = "ledger"
  ack_wait = "80ms"
  max_deliver = 1
`), 0o600); err != nil {
		t.Fatal(err)
	}
	bus := &killed{t: t, dir: dir, listen: "127.0.0.1:0", args: []string{"-c", site}}
	bus.start()
	defer func() { bus.kill() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(60+20**giveUpKills+*giveUps/20)*time.Second)
	defer cancel()
	heard := map[uint64]bool{} // sequences in PAYMENTS
	for kill := range *giveUpKills {
		bus.giveUp(ctx, heard, (kill+1)**giveUps/(*giveUpKills+1)+rand.IntN(20))
		bus.kill()
		bus.start()
	}
	bus.giveUp(ctx, heard, -1)

	js := bus.jetStream()
	defer js.Conn().Close()
	for { // until there is a letter for each
		n, captured, err := deadletter.Waiting(ctx, js)
		if err != nil || !captured {
			t.Fatal(captured, err)
		}
		if n == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	advisories, recorded := map[uint64]uint64{}, map[uint64]int{} // sequences in AUDIT: that in PAYMENTS, how often
	for seq, m := range bus.all(ctx, js, deadletter.Audit) {
		var a struct {
			Seq uint64 `json:"stream_seq"`
		}
		var r struct {
			Advisory uint64 `json:"advisory"`
		}
		switch subject := m.Subject(); {
		case strings.HasPrefix(subject, "$JS.EVENT.ADVISORY.CONSUMER."):
			if err := json.Unmarshal(m.Data(), &a); err != nil {
				t.Fatal(err)
			}
			advisories[seq] = a.Seq
		case subject == "events.audit.dead-letter.stored":
			if e, err := event.Decode(m.Data()); err != nil || json.Unmarshal(e.Data, &r) != nil {
				t.Fatalf("%s: %v", m.Data(), err)
			}
			recorded[r.Advisory]++
		}
	}
	seqs := map[uint64]bool{}
	for advisory, seq := range advisories {
		if seqs[seq] = true; recorded[advisory] != 1 {
			t.Errorf("advisory %d has %d records", advisory, recorded[advisory])
		}
	}
	letters := map[uint64]int{}
	ls, err := deadletter.Open(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	for l, err := range ls.Select(ctx, deadletter.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if letters[l.Sequence]++; string(l.Data) != strconv.FormatUint(l.Sequence, 10) || l.Missing != "" {
			t.Errorf("%+v", l)
		}
	}
	for seq := range seqs {
		if letters[seq] != 1 {
			t.Errorf("message %d has %d letters", seq, letters[seq])
		}
	}
	if len(letters) != len(seqs) || len(recorded) != len(advisories) || len(seqs) == 0 {
		t.Errorf("%d letters of %d messages, %d records of %d advisories", len(letters), len(seqs), len(recorded), len(advisories))
	}
	maps.DeleteFunc(heard, func(seq uint64, _ bool) bool { return seqs[seq] })
	t.Logf("%d messages given up, the bus killed %d times: %d advisories of %d messages captured, as many letters; of the other %d the advisory was on its way into AUDIT for %d, and not seen by anybody for %d",
		*giveUps, *giveUpKills, len(advisories), len(seqs), *giveUps-len(seqs), len(heard), *giveUps-len(seqs)-len(heard))
	if *giveUpKills == 0 && len(seqs) != *giveUps {
		t.Errorf("nobody was killed, and %d are missing", *giveUps-len(seqs))
	}
}

// giveUp publishes what there is still to publish, and gives up on it, until so many advisories were heard, or all is done.
func (b *killed) giveUp(ctx context.Context, heard map[uint64]bool, enough int) {
	js := b.jetStream()
	defer js.Conn().Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	if _, err := js.Conn().Subscribe("$JS.EVENT.ADVISORY.CONSUMER.*.PAYMENTS.ledger", func(m *nats.Msg) {
		var a struct {
			Seq uint64 `json:"stream_seq"`
		}
		if json.Unmarshal(m.Data, &a) == nil && a.Seq > 0 {
			mu.Lock()
			heard[a.Seq] = true
			mu.Unlock()
		}
	}); err != nil {
		b.t.Fatal(err)
	}
	st, err := js.Stream(ctx, "PAYMENTS")
	if err != nil {
		b.t.Fatal(err)
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for n := st.CachedInfo().State.LastSeq + 1; n <= uint64(*giveUps); n++ {
			if _, err := js.Publish(ctx, "events.payments.made", []byte(strconv.FormatUint(n, 10))); err != nil && ctx.Err() == nil {
				b.t.Error(err)
				return
			}
		}
	}()
	defer func() { cancel(); <-published }()
	con, err := st.Consumer(ctx, "ledger")
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		msgs, err := con.Fetch(20, jetstream.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			b.t.Fatal(err)
		}
		for m := range msgs.Messages() {
			if rand.IntN(2) == 0 {
				_ = m.Term()
			}
		}
		mu.Lock()
		n := len(heard)
		mu.Unlock()
		if enough >= 0 && n >= enough {
			return
		}
		select {
		case <-published:
		default:
			continue
		}
		if i, err := con.Info(ctx); err != nil {
			b.t.Fatal(err)
		} else if i.NumPending == 0 && i.NumAckPending == 0 {
			return
		}
	}
}
