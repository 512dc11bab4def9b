package monitor

import "net/http"

// writer has the last word on Access-Control-Allow-Origin. NATS's handlers set it to * in the moment they write, which
// would let every web page that a person on this machine opens read the monitor: setting or deleting it before or
// after the handler is too early or too late.
type writer struct {
	http.ResponseWriter
	origin string
	wrote  bool
}

func (w *writer) WriteHeader(code int) {
	w.settle()
	w.ResponseWriter.WriteHeader(code)
}

func (w *writer) Write(b []byte) (int, error) {
	w.settle()
	return w.ResponseWriter.Write(b)
}

func (w *writer) settle() {
	if w.wrote {
		return
	}
	w.wrote = true
	if w.origin == "" {
		w.Header().Del("Access-Control-Allow-Origin")
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", w.origin)
}

// Unwrap lets http.ResponseController reach the deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
