package monitor

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// healthz is NATS's own answer, except while the declared layout does not stand: then it is a 503 of the same shape.
// Whoever asks something narrower (js-enabled-only, js-server-only, …, or one stream by name) gets NATS's own answer.
func (m *Monitor) healthz(w http.ResponseWriter, req *http.Request) {
	s := m.bus.NATS()
	if s == nil {
		m.noNATS(w)
		return
	}
	q := req.URL.Query()
	if !m.narrow(q) {
		if r := m.standing(); !r.Ready {
			details, _ := strconv.ParseBool(q.Get("details"))
			writeJSON(w, http.StatusServiceUnavailable, notStanding(r, details))
			return
		}
	}
	askAgain(w, req, s)
}

// narrow tells a question that the layout as a whole does not answer. A parameter that does not parse is left to NATS
// as well, which refuses it in its own words.
func (m *Monitor) narrow(q url.Values) bool {
	for _, p := range []string{"js-enabled-only", "js-enabled", "js-server-only", "js-meta-only", "details"} {
		yes, err := strconv.ParseBool(q.Get(p))
		if q.Get(p) != "" && err != nil || yes && p != "details" {
			return true
		}
	}
	one := q.Get("account") != "" || q.Get("stream") != "" || q.Get("consumer") != ""
	return one && m.bus.State().Phase == server.Serving
}

// askAgain believes a 500 only when it has been repeated: Healthz gives itself one millisecond to see that the server
// has started, and on a busy machine that is not always enough.
func askAgain(w http.ResponseWriter, r *http.Request, s *natsserver.Server) {
	var a *answer
	untilBelieved(r.Context(), func() int {
		a = &answer{header: http.Header{}, code: http.StatusOK}
		s.HandleHealthz(a, r)
		return a.code
	})
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.code)
	w.Write(a.body.Bytes())
}

// answer keeps what a handler writes, to be looked at before it is sent.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// untilBelieved asks again while the answer is a 500.
func untilBelieved(ctx context.Context, ask func() int) {
	for range 20 {
		if ask() != http.StatusInternalServerError {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func unavailable(why string) natsserver.HealthStatus {
	return natsserver.HealthStatus{Status: "unavailable", StatusCode: http.StatusServiceUnavailable, Error: why}
}

// notStanding says in NATS's shape what is missing, one error each if details are asked for.
func notStanding(r Readiness, details bool) natsserver.HealthStatus {
	why := r.Error
	if len(r.Missing) > 0 {
		why = "declared and not there: " + strings.Join(r.Missing, ", ")
	}
	if !details {
		return unavailable(why)
	}
	h := natsserver.HealthStatus{Status: "error", StatusCode: http.StatusServiceUnavailable}
	for _, name := range r.Missing {
		e := natsserver.HealthzError{Type: natsserver.HealthzErrorStream, Error: name + " is declared and not there"}
		if kind, id, _ := strings.Cut(name, " "); kind == "consumer" {
			e.Type = natsserver.HealthzErrorConsumer
			e.Stream, e.Consumer, _ = strings.Cut(id, "/")
		} else {
			e.Stream = id
		}
		h.Errors = append(h.Errors, e)
	}
	if len(h.Errors) == 0 {
		h.Errors = []natsserver.HealthzError{{Type: natsserver.HealthzErrorJetStream, Error: why}}
	}
	return h
}
