package monitor

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Access is how a monitor may be reached. The zero value is plain HTTP for everybody who reaches the address.
type Access struct {
	TLS   *tls.Config // nil: plain HTTP; whether it is one or the other is settled by Open
	Token string      // who asks has to send it as Authorization: Bearer; empty: nobody has to
}

// access is an Access in force.
type access struct {
	tls   *tls.Config
	token [sha256.Size]byte
	asks  bool // for the token
}

// guard holds who may ask.
type guard struct {
	now  atomic.Pointer[access]
	open bool // the probes

	refused func(address, reason string)
}

func (g *guard) use(a Access) {
	g.now.Store(&access{tls: a.TLS, token: sha256.Sum256([]byte(a.Token)), asks: a.Token != ""})
}

// Renew takes a new certificate and token from now on; connections that are there go on.
func (m *Monitor) Renew(a Access) { m.guard.use(a) }

// errorLog hears what net/http has to say, of TLS handshakes that failed with who it was.
type errorLog struct{ m *Monitor }

func (e errorLog) Write(line []byte) (int, error) {
	s := strings.TrimSpace(string(line))
	e.m.log.Warn(s)
	if who, is := strings.CutPrefix(s, "http: TLS handshake error from "); is {
		if address, why, ok := strings.Cut(who, ": "); ok {
			e.m.guard.refused(address, "TLS handshake: "+why)
		}
	}
	return len(line), nil
}

// probes are what can stay open while the rest is closed.
var probes = []string{"/livez", "/readyz", "/healthz"}

// admits reports whether the request may have its answer, and if not whether it may have at least a probe's code.
func (g *guard) admits(r *http.Request) (all, code bool) {
	a := g.now.Load()
	if !a.asks {
		return true, true
	}
	scheme, sent, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(sent)))
	all = strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
	code = all || g.open && slices.Contains(probes, r.URL.Path)
	switch {
	case !all && scheme != "": // from a probe's answer one learns as well whether it is right
		g.refused(r.RemoteAddr, "a wrong token")
	case !code:
		g.refused(r.RemoteAddr, "no token")
	}
	return all, code
}

// outline answers with a probe's code, and without the names that the whole answer has.
func outline(w http.ResponseWriter, r *http.Request, h http.HandlerFunc) {
	a := &answer{header: http.Header{}, code: http.StatusOK}
	h(a, r)
	status := "ok"
	if a.code != http.StatusOK {
		status = "unavailable"
	}
	writeJSON(w, a.code, struct {
		Status string `json:"status"`
	}{status})
}

// listener is ln with TLS, where there is to be TLS. Each handshake takes the certificate that is in force.
func (g *guard) listener(ln net.Listener) net.Listener {
	if g.now.Load().tls == nil {
		return ln
	}
	return tls.NewListener(ln, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.now.Load().tls, nil }})
}

// expires is when the monitor's own certificate does; zero without TLS.
func (g *guard) expires() time.Time {
	t := g.now.Load().tls
	if t == nil || len(t.Certificates) == 0 || t.Certificates[0].Leaf == nil {
		return time.Time{}
	}
	return t.Certificates[0].Leaf.NotAfter
}
