package server_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// booted is what this binary is when a benchmark measures the start of a process; nil where there are none.
var booted func() (code int)

const bootDir, bootBare = "DELTRAN_BENCH_STORE", "DELTRAN_BENCH_BARE" // of the environment

func TestMain(m *testing.M) {
	if os.Getenv(bootDir) != "" {
		os.Exit(booted())
	}
	if os.Getenv("DELTRAN_TEST_RESTARTS") != "" { // it ends while NATS sets up its sources
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// onDisk is the embedded declaration with free ports and a store of the test's own; further sources win over that.
func onDisk(t testing.TB, more ...config.Source) *config.Config {
	t.Helper()
	return at(t, filepath.Join(t.TempDir(), "store"), more...)
}

// at is onDisk with the store in dir.
func at(t testing.TB, dir string, more ...config.Source) *config.Config {
	t.Helper()
	cfg, err := config.Load(append([]config.Source{
		config.Set("test", "nats.listen", "127.0.0.1:0"),
		config.Set("test", "nats.jetstream.store_dir", dir),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func toml(text string) config.Source { return config.File("test.toml", text) }

// start runs a bus until the end of the test.
func start(t testing.TB, cfg *config.Config) *server.Server {
	t.Helper()
	s, err := server.Start(context.Background(), cfg, logTo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// js is JetStream over an in-process connection of the bus's own.
func js(t testing.TB, s *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return over(t, nc)
}

func over(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// publish stores n messages and returns the last sequence.
func publish(t testing.TB, js jetstream.JetStream, subject string, n int) (seq uint64) {
	t.Helper()
	for range n {
		ack, err := js.Publish(context.Background(), subject, []byte("event"))
		if err != nil {
			t.Fatal(err)
		}
		seq = ack.Sequence
	}
	return seq
}

func messages(t testing.TB, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	s, err := js.Stream(context.Background(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// logTo keeps the log and shows it when the test has failed.
func logTo(t testing.TB) *slog.Logger {
	var b lockedBuilder
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.String())
		}
	})
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func tryStart(t testing.TB, dir string) (*server.Server, error) {
	t.Helper()
	return server.Start(context.Background(), at(t, dir), logTo(t))
}
