package monitor

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go/jetstream"
)

// The real server from its first phase to its last, with the layout that it declares by default.
func TestRealServer(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(
		config.Set("test", "nats.listen", "127.0.0.1:0"),
		config.Set("test", "nats.jetstream.store_dir", filepath.Join(t.TempDir(), "store")),
	)
	if err != nil {
		t.Fatal(err)
	}
	var bus Bus = server.New(cfg, slog.New(slog.DiscardHandler)) // *server.Server is a Bus
	srv := bus.(*server.Server)
	defer srv.Close(context.WithoutCancel(t.Context()))
	m := open(t, srv, Options{})
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"phase": "opening"`)
	if err := srv.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"phase": "standing"`)
	get(t, m.URL()+"/healthz").mustBe(t, 503, "standing")
	if err := srv.Listen(); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 200, `"phase": "serving"`, `"missing": []`, `"held": []`, `"undeclared": []`)
	get(t, m.URL()+"/healthz").mustBe(t, 200, `{"status":"ok"}`)
	get(t, m.URL()+"/metrics").mustBe(t, 200, `stream_name="TRANSACTIONS"`, "deltran_bus_ready 1", "deltran_bus_layout_missing 0")
	// NATS's monitor itself stays off: there is one port, ours.
	if a := srv.NATS().MonitorAddr(); a != nil {
		t.Errorf("nats-server monitors at %s", a)
	}

	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"stream AUDIT"`)
	get(t, m.URL()+"/healthz").mustBe(t, 503, "stream AUDIT")
	if err := srv.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"phase": "closed"`)
	get(t, m.URL()+"/livez").mustBe(t, 200)
}
