//go:build unix

package server_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var restarts = flag.Int("restarts", 6, "how often TestRestartsWithoutFalseAlarm starts the bus")

// everyKind is a stream of every kind whose messages go by a rule of their own, and some that lose none.
const everyKind = `
[bus]
default_streams = false
lame_duck = "20ms"
[[streams]]
name = "KEPT"
subjects = ["kept.*"]
[[streams]]
name = "SHORT"
subjects = ["short.*"]
max_age = "700ms"
duplicate_window = "500ms"
[[streams]]
name = "LONG"
subjects = ["long.*"]
max_age = "1h"
max_bytes = "20MB"
discard = "new"
allow_atomic = true
[[streams]]
name = "COUNTED"
subjects = ["counted.*"]
max_msgs = 50
[[streams]]
name = "LAST"
subjects = ["last.*"]
max_msgs_per_subject = 1
[[streams]]
name = "SMALL"
subjects = ["small.*"]
max_bytes = "8KB"
[[streams]]
name = "ROLLED"
subjects = ["rolled.*"]
allow_rollup_hdrs = true
[[streams]]
name = "TTL"
subjects = ["ttl.*"]
allow_msg_ttl = true
[[streams]]
name = "PACKED"
subjects = ["packed.*"]
compression = "s2"
[[streams]]
name = "WORK"
subjects = ["work.*"]
retention = "workqueue"
  [[streams.consumers]]
  name = "worker"
[[streams]]
name = "WANTED"
subjects = ["wanted.*"]
retention = "interest"
  [[streams.consumers]]
  name = "reader"
[[streams]]
name = "HOT"
subjects = ["hot.*"]
storage = "memory"
[[streams]]
name = "MIRROR"
mirror = { name = "KEPT" }
[[streams]]
name = "COPY"
duplicate_window = "2m"
sources = [ { name = "LONG" } ]
`

var kinds = []string{"kept", "short", "long", "counted", "last", "small", "rolled", "ttl", "packed", "work", "wanted", "hot"}

// The ledger is believed only if it never cries wolf: streams of every kind, messages published, consumed, expired, removed, streams
// changed, deleted and made anew, and the bus stopped or killed at any moment, always starts again without a word.
// go test ./server -run FalseAlarm -restarts 1000 takes half an hour.
func TestRestartsWithoutFalseAlarm(t *testing.T) {
	if dir := os.Getenv("DELTRAN_TEST_RESTARTS"); dir != "" {
		busyBus(t, dir)
		return
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	for round := range *restarts {
		out, killed := oneRound(t, dir)
		out = halfDeleted.ReplaceAllString(out, "")
		if strings.Contains(out, "FAIL") || strings.Contains(out, "level=ERROR") {
			t.Fatalf("round %d, killed %v:\n%s", round, killed, out)
		}
	}
}

// halfDeleted is a stream whose deletion had begun when the bus was killed, and nobody can know whether it was asked for: it
// is brought back, and that is told.
var halfDeleted = regexp.MustCompile(`(?m)^.*level=ERROR msg="\w+: meta.inf is gone; the ledger's copy takes its place" kind=damage.*$`)

// oneRound runs busyBus in a process of its own for a while.
func oneRound(t *testing.T, dir string) (out string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRestartsWithoutFalseAlarm$")
	cmd.Env = append(os.Environ(), "DELTRAN_TEST_RESTARTS="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if _, err := cmd.StdinPipe(); err != nil { // it ends when that does: with this process, however it ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed = rand.IntN(3) > 0
	sig := syscall.SIGTERM
	if killed {
		sig = syscall.SIGKILL
	}
	var all strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if lines.Text() == "busy" {
			time.AfterFunc(time.Duration(rand.IntN(1500))*time.Millisecond, func() { _ = cmd.Process.Signal(sig) })
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && killed && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL) {
		t.Fatalf("%v\n%s", err, all.String())
	}
	return all.String(), killed
}

// busyBus runs a bus until SIGTERM, with clients that do whatever clients do.
func busyBus(t *testing.T, dir string) {
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(1) }()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := server.Start(context.Background(), at(t, dir, toml(everyKind)), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	fmt.Println("busy")
	ended := make(chan struct{}, 3)
	for range cap(ended) {
		go func() { defer func() { ended <- struct{}{} }(); busyClient(ctx, t, s) }()
	}
	<-term
	if rand.IntN(2) == 0 { // clients gone before, or not
		cancel()
		for range cap(ended) {
			<-ended
		}
	}
	stop(t, s)
	cancel()
}

func busyClient(ctx context.Context, t *testing.T, s *server.Server) {
	nc, err := s.Connect(nats.NoReconnect())
	if err != nil {
		return // it is being stopped
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		t.Error(err)
		return
	}
	for ctx.Err() == nil && nc.IsConnected() {
		anything(ctx, js)
	}
}

// anything does one thing; whether it succeeds is not the question.
func anything(ctx context.Context, js jetstream.JetStream) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	kind := kinds[rand.IntN(len(kinds))]
	name := strings.ToUpper(kind)
	publish := func(subject string) {
		m := nats.NewMsg(subject)
		m.Data = make([]byte, rand.IntN(400))
		if kind == "rolled" && rand.IntN(20) == 0 {
			m.Header.Set(nats.MsgRollup, "sub")
		}
		if kind == "ttl" && rand.IntN(2) == 0 {
			m.Header.Set("Nats-TTL", "1s")
		}
		_, _ = js.PublishMsg(ctx, m)
	}
	switch rand.IntN(60) {
	case 0:
		if s, err := js.Stream(ctx, name); err == nil {
			_ = s.Purge(ctx)
		}
	case 1:
		if s, err := js.Stream(ctx, name); err == nil {
			_ = s.Purge(ctx, jetstream.WithPurgeKeep(10))
		}
	case 2, 3:
		if s, err := js.Stream(ctx, name); err == nil {
			st := s.CachedInfo().State
			_ = s.DeleteMsg(ctx, st.FirstSeq+rand.Uint64N(st.Msgs+1))
		}
	case 4:
		_, _ = js.CreateStream(ctx, jetstream.StreamConfig{Name: "PASSING", Subjects: []string{"passing.*"}})
	case 5:
		_ = js.DeleteStream(ctx, "PASSING")
	case 6:
		_ = js.DeleteStream(ctx, name)
		_, _ = js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{kind + ".*"}})
	case 7:
		if s, err := js.Stream(ctx, "LONG"); err == nil {
			cfg := s.CachedInfo().Config
			cfg.MaxAge = time.Duration(1+rand.IntN(3600)) * time.Second
			cfg.Duplicates = time.Second
			_, _ = js.UpdateStream(ctx, cfg)
		}
	case 8, 9, 10, 11, 12:
		con, stream := "worker", "WORK"
		if rand.IntN(2) == 0 {
			con, stream = "reader", "WANTED"
		}
		if c, err := js.Consumer(ctx, stream, con); err == nil {
			if batch, err := c.FetchNoWait(20); err == nil {
				for m := range batch.Messages() {
					_ = m.Ack()
				}
			}
		}
	default:
		for range 1 + rand.IntN(20) {
			publish(fmt.Sprintf("%s.%d", kind, rand.IntN(10)))
		}
		publish("passing.x")
	}
}
