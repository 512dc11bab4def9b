package monitor

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

func TestBeforeNATS(t *testing.T) {
	t.Parallel()
	b := opening()
	m := open(t, b, Options{})
	get(t, m.URL()+"/livez").mustBe(t, 200, `"ok"`)
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"ready": false`, `"phase": "opening"`, `"missing": []`, `"held": []`, `"undeclared": []`)
	get(t, m.URL()+"/metrics").mustBe(t, 200, "deltran_bus_ready 0", `deltran_bus_phase{phase="opening"} 1`, "go_goroutines", "process_")
	get(t, m.URL()+"/").mustBe(t, 200, "Not ready")
	var paths []string
	for _, r := range m.natsRoutes() {
		paths = append(paths, r.path)
	}
	for _, p := range append(paths, "/healthz", "/healthz?js-server-only=true") {
		r := get(t, m.URL()+p)
		r.mustBe(t, 503, `"status": "unavailable"`, `"phase": "opening"`, `"status_code": 503`)
		if ct := r.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: content type %q", p, ct)
		}
	}
	b.set(server.State{Phase: server.Opening, Err: errors.New("store /x is in use")})
	get(t, m.URL()+"/readyz").mustBe(t, 503, "store /x is in use")
	get(t, m.URL()+"/varz").mustBe(t, 503, "store /x is in use")
	get(t, m.URL()+"/livez").mustBe(t, 200)
}

func TestReadyOnlyWhenServing(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT")
	m := open(t, b, Options{})
	for _, p := range phases {
		b.set(server.State{Phase: p, Since: time.Unix(1700000000, 0).UTC()})
		want, gauge := 503, "deltran_bus_ready 0"
		if p == server.Serving {
			want, gauge = 200, "deltran_bus_ready 1"
		}
		get(t, m.URL()+"/readyz").mustBe(t, want, `"phase": "`+string(p)+`"`, `"since": "2023-11-14T22:13:20Z"`)
		get(t, m.URL()+"/healthz").mustBe(t, want)
		get(t, m.URL()+"/metrics").mustBe(t, 200, gauge, `deltran_bus_phase{phase="`+string(p)+`"} 1`, "deltran_bus_phase_start_timestamp_seconds 1.7e+09")
		get(t, m.URL()+"/healthz?js-enabled-only=true").mustBe(t, 200, `"ok"`)
		get(t, m.URL()+"/healthz?js-server-only=1").mustBe(t, 200, `"ok"`)
		get(t, m.URL()+"/livez").mustBe(t, 200)
	}
}

func TestDeletedAtRunTime(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT", "stream RISK", "consumer RISK/reader")
	m, js := open(t, b, Options{}), b.js(t)
	get(t, m.URL()+"/readyz").mustBe(t, 200, `"ready": true`)
	get(t, m.URL()+"/healthz").mustBe(t, 200, `{"status":"ok"}`)

	if err := js.DeleteConsumer(t.Context(), "RISK", "reader"); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"consumer RISK/reader"`, `"ready": false`)
	if err := js.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"stream AUDIT"`, `"consumer RISK/reader"`)
	get(t, m.URL()+"/metrics").mustBe(t, 200, "deltran_bus_ready 0", "deltran_bus_layout_missing 2", `gnatsd_healthz_status_value{server_id="`+m.URL()+`",value="unavailable"} 0`)

	r := get(t, m.URL()+"/healthz")
	r.mustBe(t, 503)
	var h natsserver.HealthStatus
	if err := json.Unmarshal([]byte(r.body), &h); err != nil {
		t.Fatal(err)
	}
	if h.Status != "unavailable" || h.StatusCode != 503 || !strings.Contains(h.Error, "stream AUDIT, consumer RISK/reader") {
		t.Errorf("healthz: %+v", h)
	}
	r = get(t, m.URL()+"/healthz?details=true")
	h = natsserver.HealthStatus{}
	if err := json.Unmarshal([]byte(r.body), &h); err != nil {
		t.Fatal(err)
	}
	if len(h.Errors) != 2 || h.Errors[0].Stream != "AUDIT" || h.Errors[1].Consumer != "reader" || h.Errors[1].Type != natsserver.HealthzErrorConsumer {
		t.Errorf("healthz with details: %+v", h)
	}
	get(t, m.URL()+"/healthz?account=$G&stream=RISK").mustBe(t, 200)  // asks for one stream, and that one is well
	get(t, m.URL()+"/healthz?account=$G&stream=AUDIT").mustBe(t, 404) // NATS's own answer
	get(t, m.URL()+"/").mustBe(t, 200, "<code>stream AUDIT</code>")

	b.create(t, js, "stream AUDIT")
	b.create(t, js, "consumer RISK/reader")
	get(t, m.URL()+"/readyz").mustBe(t, 200, `"missing": []`)
	get(t, m.URL()+"/healthz").mustBe(t, 200)
}

// A bus that refuses publishes is not ready, and says why; whoever asks NATS, or whether the process lives, hears nothing
// bad.
func TestRefusing(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT")
	m := open(t, b, Options{})
	st := servingState()
	st.Space = server.Space{Refusing: "41 MiB are free", Keep: 64 << 20, WriteErrors: 3, Restarts: 2}
	b.set(st)
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"ready": false`, `"refusing": "41 MiB are free"`, `"error": "publishing is refused: 41 MiB are free"`)
	get(t, m.URL()+"/metrics").mustBe(t, 200, "\ndeltran_bus_ready 0\n", "\ndeltran_bus_store_refusing 1\n", "\ndeltran_bus_store_min_free_bytes 6.7108864e+07\n",
		"\ndeltran_bus_store_write_errors_total 3\n", "\ndeltran_bus_nats_restarts_total 2\n")
	get(t, m.URL()+"/healthz").mustBe(t, 200)
	get(t, m.URL()+"/livez").mustBe(t, 200)
	st.Space.Refusing = ""
	b.set(st)
	r := get(t, m.URL()+"/readyz")
	r.mustBe(t, 200, `"ready": true`)
	if strings.Contains(r.body, "refusing") {
		t.Error(r.body)
	}
}

// What the boot held back or found undeclared is told, and is no reason to be unready.
func TestHeldAndUndeclared(t *testing.T) {
	t.Parallel()
	b := serving(t, "stream AUDIT")
	st := servingState()
	plan := `{"changes":[{"action":"update","stream":"AUDIT","class":"loses","fields":[{"field":"max_age","have":2,"want":1,"class":"loses","why":"older messages go"}]}],
		"undeclared":[{"stream":"OLD"},{"stream":"AUDIT","consumer":"stray"}]}`
	if err := json.Unmarshal([]byte(plan), &st.Plan); err != nil {
		t.Fatal(err)
	}
	b.set(st)
	m := open(t, b, Options{})
	r := get(t, m.URL()+"/readyz")
	r.mustBe(t, 200, `"ready": true`, "older messages go")
	var ready struct {
		Held []struct {
			Stream string
			Fields []struct{ Field, Why string }
		}
		Undeclared []string
	}
	if err := json.Unmarshal([]byte(r.body), &ready); err != nil {
		t.Fatal(err)
	}
	if len(ready.Held) != 1 || ready.Held[0].Stream != "AUDIT" || ready.Held[0].Fields[0].Field != "max_age" {
		t.Errorf("held: %+v", ready.Held)
	}
	if want := []string{"stream OLD", "consumer AUDIT/stray"}; !slices.Equal(ready.Undeclared, want) {
		t.Errorf("undeclared %q, want %q", ready.Undeclared, want)
	}
	get(t, m.URL()+"/metrics").mustBe(t, 200, "deltran_bus_layout_held_changes 1", "deltran_bus_layout_undeclared 2", "deltran_bus_ready 1")
	get(t, m.URL()+"/healthz").mustBe(t, 200)
}

func TestNATSGone(t *testing.T) {
	t.Parallel()
	b := serving(t)
	m := open(t, b, Options{})
	b.NATS().Shutdown()
	get(t, m.URL()+"/readyz").mustBe(t, 503, "nats-server is not running")
	get(t, m.URL()+"/healthz").mustBe(t, 503)
	get(t, m.URL()+"/metrics").mustBe(t, 200, "deltran_bus_ready 0", "jetstream_server_jetstream_disabled")
	for _, r := range m.natsRoutes() {
		if r := get(t, m.URL()+r.path); r.code >= 500 {
			t.Errorf("status %d: %s", r.code, r.body)
		}
	}
}

// The whole healthz answer is asked for again when NATS's own millisecond was too short.
func TestBelieveRepeatedOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		answers []int
		asked   int
	}{{[]int{200}, 1}, {[]int{503}, 1}, {[]int{500, 500, 200}, 3}, {nil, 20}} {
		asked := 0
		untilBelieved(t.Context(), func() int {
			asked++
			if asked <= len(c.answers) {
				return c.answers[asked-1]
			}
			return 500
		})
		if asked != c.asked {
			t.Errorf("%v: asked %d times, want %d", c.answers, asked, c.asked)
		}
	}
}

// A bus whose NATS is ill is not ready, although everything declared is there: publishers would only see timeouts.
func TestNotReadyWhenNATSIsIll(t *testing.T) {
	t.Parallel()
	b := serving(t)
	m := open(t, b, Options{})
	get(t, m.URL()+"/readyz").mustBe(t, 200)
	if err := b.NATS().DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	get(t, m.URL()+"/readyz").mustBe(t, 503, `"ready": false`, `"error": "nats-server: `)
	get(t, m.URL()+"/healthz").mustBe(t, 503, "JetStream")
	get(t, m.URL()+"/metrics").mustBe(t, 200, "deltran_bus_ready 0")
}
