package monitor

import (
	_ "embed"
	"net/http"
	"text/template"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

//go:embed index.html
var indexHTML string

// Every value in it goes through html: html/template would add more to the binary than the rest of this room.
var indexPage = template.Must(template.New("index").Parse(indexHTML))

// index is the page at /: what there is, for a person. It loads nothing from anywhere.
func (m *Monitor) index(all []route) http.HandlerFunc {
	type entry struct{ Path, What string }
	var list []entry
	for _, r := range all {
		list = append(list, entry{r.path, r.what})
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		_ = indexPage.Execute(w, map[string]any{
			"Version": m.opts.Version, "NATS": natsserver.VERSION, "Ready": m.readiness(), "Endpoints": list,
		})
	}
}
