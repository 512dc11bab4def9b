//go:build unix

package deadletter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/deltran/deltran-bus/event"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go/jetstream"
)

var giveUps = flag.Int("giveups", 500, "how many messages TestKilledAtAnyMoment has given up on")

const inProcess = "DELTRAN_TEST_DEADLETTERS"

// Whenever the bus is killed, every advisory that AUDIT has ends as one letter and one record, and every letter has its
// message. go test ./deadletter -run Killed -giveups 10000 takes some minutes.
func TestKilledAtAnyMoment(t *testing.T) {
	if dir := os.Getenv(inProcess); dir != "" {
		giveUpOnAll(t, dir)
		return
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	rounds := 1
	for ; killedSoon(t, dir); rounds++ {
	}
	js := whole(t, dir)
	ctx := t.Context()
	advisories, seqs, recorded := map[uint64]bool{}, map[uint64]bool{}, map[float64]int{}
	audit, err := js.Stream(ctx, deadletter.Audit)
	if err != nil {
		t.Fatal(err)
	}
	last := audit.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		m, err := audit.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Seq uint64 `json:"stream_seq"`
		}
		if e, err := event.Decode(m.Data); err == nil {
			var r map[string]any
			if err := json.Unmarshal(e.Data, &r); err != nil {
				t.Fatal(err)
			}
			recorded[r["advisory"].(float64)]++
		} else if err := json.Unmarshal(m.Data, &a); err != nil {
			t.Fatal(err)
		} else {
			advisories[seq], seqs[a.Seq] = true, true
		}
	}
	ls, err := deadletter.Open(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	letters := map[uint64]int{}
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
	for seq := range advisories {
		if recorded[float64(seq)] != 1 {
			t.Errorf("advisory %d has %d records", seq, recorded[float64(seq)])
		}
	}
	if len(letters) != len(seqs) || len(recorded) != len(advisories) || len(seqs) == 0 {
		t.Errorf("%d letters of %d messages, %d records of %d advisories", len(letters), len(seqs), len(recorded), len(advisories))
	}
	t.Logf("%d messages given up, the bus killed %d times: %d advisories of %d messages captured, as many letters", *giveUps, rounds-1, len(advisories), len(seqs))
}

// killedSoon runs giveUpOnAll in a process of its own for a while. It is false when that has come to its end.
func killedSoon(t *testing.T, dir string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtAnyMoment$", "-giveups="+strconv.Itoa(*giveUps))
	cmd.Env = append(os.Environ(), inProcess+"="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	done := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Fprintln(&all, lines.Text())
		switch lines.Text() {
		case "begun":
			time.AfterFunc(time.Duration(20+rand.IntN(300+*giveUps/10))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		case "done":
			done = true
		}
	}
	err = cmd.Wait()
	if strings.Contains(all.String(), "FAIL") {
		t.Fatal(all.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return !done
}

// begin starts a bus over the folder, with what makes dead letters.
func begin(t *testing.T, dir string) (*server.Server, jetstream.JetStream) {
	t.Helper()
	toml := strings.Replace(payments, `"30s"`, `"80ms"`, 1) + "\n[nats]\nlisten = \"127.0.0.1:0\"\n[nats.jetstream]\nstore_dir = '" + dir + "'\n[bus]\nlame_duck = \"20ms\"\n"
	cfg, err := config.Load(config.File("test", toml))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	nc, release, err := s.ConnectOwn()
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = deadletter.NewCollector(js, deadletter.Options{Every: 50 * time.Millisecond}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		release()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, js
}

// giveUpOnAll publishes what there is still to publish, and gives up on everything, by one way or the other.
func giveUpOnAll(t *testing.T, dir string) {
	_, js := begin(t, dir)
	fmt.Println("begun")
	ctx := context.Background()
	st, err := js.Stream(ctx, "PAYMENTS")
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan struct{})
	go func() {
		defer close(published)
		for n := st.CachedInfo().State.LastSeq + 1; n <= uint64(*giveUps); n++ {
			if _, err := js.Publish(ctx, "events.payments.made", []byte(strconv.FormatUint(n, 10))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	con, err := st.Consumer(ctx, "ledger")
	if err != nil {
		t.Fatal(err)
	}
	for {
		msgs, err := con.Fetch(20, jetstream.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		for m := range msgs.Messages() {
			if rand.IntN(2) == 0 {
				_ = m.Term()
			}
		}
		select {
		case <-published:
		default:
			continue
		}
		if i, err := con.Info(ctx); err != nil {
			t.Fatal(err)
		} else if i.NumPending == 0 && i.NumAckPending == 0 {
			fmt.Println("done")
			return
		}
	}
}

// whole starts the bus a last time, and waits until every advisory is worked off.
func whole(t *testing.T, dir string) jetstream.JetStream {
	t.Helper()
	_, js := begin(t, dir)
	await(t, func() error {
		n, captured, err := deadletter.Waiting(t.Context(), js)
		if err == nil && (n > 0 || !captured) {
			err = fmt.Errorf("%d waiting", n)
		}
		return err
	})
	return js
}
