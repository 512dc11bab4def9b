package access_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const password = "s3cr3t-of-the-matrix"

func TestMain(m *testing.M) {
	_ = os.Setenv("MATRIX_PASSWORD", password)
	os.Exit(m.Run())
}

// bus is a real one, in memory, reached over TCP.
type bus struct {
	*server.Server
	cfg *config.Config
	js  jetstream.JetStream // of the bus itself
}

func load(t *testing.T, layers ...string) *config.Config {
	t.Helper()
	src := []config.Source{config.Set("test", "nats.jetstream.store_dir", filepath.Join(t.TempDir(), "store"))}
	for _, text := range layers {
		src = append(src, config.File("matrix.toml", text))
	}
	cfg, err := config.Load(src...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Ephemeral()
}

func start(t *testing.T, layers ...string) *bus {
	t.Helper()
	cfg := load(t, layers...)
	srv, err := server.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Abandon() })
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &bus{srv, cfg, js}
}

// connect logs a service in as any client does.
func (b *bus) connect(t *testing.T, user string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.ClientURL(), nats.UserInfo(user, password), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// fill puts a message of the bus's own into every stream.
func (b *bus) fill(t *testing.T) {
	t.Helper()
	for _, s := range b.cfg.Streams {
		if _, err := b.js.Publish(t.Context(), "events."+strings.ToLower(s.Name)+".filled", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
}

// stored is what the streams hold and the consumers are, in one line. It asks the server itself, not JetStream's API.
func (b *bus) stored(t *testing.T) string {
	t.Helper()
	jsz, err := b.NATS().Jsz(&natsserver.JSzOptions{Account: natsserver.DEFAULT_GLOBAL_ACCOUNT, Streams: true, Consumer: true})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, a := range jsz.AccountDetails {
		for _, s := range a.Streams {
			lines = append(lines, fmt.Sprintf("%s %d-%d %d", s.Name, s.State.FirstSeq, s.State.LastSeq, s.State.Msgs))
			for _, c := range s.Consumer {
				lines = append(lines, fmt.Sprintf("%s/%s %d %d", s.Name, c.Name, c.Delivered.Consumer, c.NumAckPending))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
