package monitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// route is one path. Paths are matched as they are: nothing is cleaned, redirected or matched by prefix, but for pprof.
type route struct {
	path  string
	what  string // for the index page and the 404
	serve http.HandlerFunc
}

// routes is the monitor's mux: its own, because nats-server's imports put pprof and expvar on http.DefaultServeMux.
type routes struct {
	all    []route // in the order in which they are listed
	byPath map[string]http.HandlerFunc
	origin string
	guard  *guard
}

func newRoutes(m *Monitor, metrics http.Handler) *routes {
	rs := &routes{origin: m.opts.AllowOrigin, guard: &m.guard, byPath: map[string]http.HandlerFunc{}}
	rs.add(
		route{"/livez", "the process is alive", livez},
		route{"/readyz", "the declared layout stands and clients can connect; if not, what is missing", m.readyz},
		route{"/healthz", "health as NATS sees it, 503 while the layout does not stand", m.healthz},
		route{"/metrics", "Prometheus metrics", metrics.ServeHTTP},
	)
	rs.add(m.natsRoutes()...)
	if m.opts.Debug {
		rs.add(m.debugRoutes()...)
	}
	rs.byPath["/"] = m.index(rs.all)
	return rs
}

func (rs *routes) add(more ...route) {
	rs.all = append(rs.all, more...)
	for _, r := range more {
		rs.byPath[r.path] = r.serve
	}
}

// find returns the handler of a path, nil if there is none.
func (rs *routes) find(path string) http.HandlerFunc {
	if h, ok := rs.byPath[path]; ok {
		return h
	}
	if strings.HasPrefix(path, pprofPath) {
		return rs.byPath[pprofPath] // the profiles by name; nil unless Debug
	}
	return nil
}

// ServeHTTP is what every request goes through: who asks, the path, then the method, then the headers that all answers have.
func (rs *routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = &writer{ResponseWriter: w, origin: rs.origin}
	w.Header().Set("X-Content-Type-Options", "nosniff") // subjects and names are what clients say they are
	w.Header().Set("Cache-Control", "no-store")
	if r.ContentLength != 0 { // nothing here reads a body: do not wait for one either
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTimeout))
	}
	h := rs.find(r.URL.Path)
	all, code := rs.guard.admits(r)
	switch {
	case !code:
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "send the monitor's token, as Authorization: Bearer TOKEN", http.StatusUnauthorized)
	case h == nil:
		rs.notFound(w)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET or HEAD only: the monitor reads and never writes", http.StatusMethodNotAllowed)
	case !all:
		outline(w, r, h)
	default:
		h(w, r)
	}
}

func (rs *routes) notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "not found; there is:\n")
	for _, r := range rs.all {
		fmt.Fprintf(w, "%-16s %s\n", r.path, r.what)
	}
}

// writeJSON answers with v, indented as NATS indents.
func writeJSON(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // for people to read: $G > AUDIT
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}
