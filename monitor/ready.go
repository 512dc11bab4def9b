package monitor

import (
	"context"
	"net/http"
	"time"

	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// Readiness is the body of /readyz. Fields are only ever added. The lists are never null; Held and Undeclared do not
// make a bus unready.
type Readiness struct {
	Ready      bool               `json:"ready"`              // the layout stands and clients can connect
	Phase      server.Phase       `json:"phase"`              // how far the bus is
	Since      time.Time          `json:"since,omitzero"`     // when the phase began
	Missing    []string           `json:"missing"`            // declared, and not there now: "stream AUDIT"; makes it unready
	Held       []bootstrap.Change `json:"held"`               // changes that the boot held back, and why; the bus runs on the old setting
	Undeclared []string           `json:"undeclared"`         // there, and not declared; left alone
	Refusing   string             `json:"refusing,omitempty"` // why publishes to file streams are refused, and the way out; makes it unready
	Error      string             `json:"error,omitempty"`    // why it is not ready, where Missing does not say it

	Findings []ledger.Finding `json:"findings"`            // what is wrong with the store; those that hold the bus make it unready
	LedgerID string           `json:"ledger_id,omitempty"` // what a decision about them is about

	Backup *backup.Status `json:"backup,omitempty"` // how the schedule of backups stands; it makes no bus unready
}

// readiness looks now: the layout has to stand, and NATS to find nothing wrong with itself, such as a stream that cannot
// write any more because the disk is full.
func (m *Monitor) readiness() Readiness {
	r := m.standing()
	if !r.Ready {
		return r
	}
	if r.Refusing = m.bus.State().Space.Refusing; r.Refusing != "" {
		r.Ready, r.Error = false, "publishing is refused: "+r.Refusing
		return r
	}
	s := m.bus.NATS()
	if s == nil {
		r.Ready, r.Error = false, "nats-server is not running"
		return r
	}
	var h *natsserver.HealthStatus
	untilBelieved(context.Background(), func() int {
		h = s.Healthz(nil)
		return h.StatusCode
	})
	if h.Status != "ok" {
		r.Ready, r.Error = false, "nats-server: "+h.Error
	}
	return r
}

// standing is readiness without NATS's own opinion. Before Serving nothing is asked of NATS: what is missing then is
// still being made.
func (m *Monitor) standing() Readiness {
	st := m.bus.State()
	r := Readiness{Phase: st.Phase, Since: st.Since, Missing: []string{}, Held: held(st), Undeclared: undeclared(st), Findings: []ledger.Finding{}, LedgerID: st.LedgerID}
	r.Findings = append(r.Findings, st.Findings...)
	if m.opts.Backup != nil {
		r.Backup = m.opts.Backup()
	}
	switch s := m.bus.NATS(); {
	case st.Err != nil:
		r.Error = st.Err.Error()
	case st.Phase != server.Serving:
		r.Error = "the bus is " + string(st.Phase)
		for _, f := range st.Findings {
			if f.Holds {
				r.Error += "; " + f.String() + "; " + f.WayOut
			}
		}
	case s == nil || !s.Running():
		r.Error = "nats-server is not running"
	default:
		r.Missing = append(r.Missing, m.bus.Missing()...)
		r.Ready = len(r.Missing) == 0
	}
	return r
}

func (m *Monitor) readyz(w http.ResponseWriter, _ *http.Request) {
	r := m.readiness()
	code := http.StatusOK
	if !r.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, r)
}

// livez says that the process answers, and nothing else: a liveness probe that looked further would have a bus that
// recovers a large store, or waits for a person, killed again and again.
func livez(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}
