package monitor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMethods(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{Debug: true})
	var paths = []string{"/"}
	for _, r := range newRoutes(m, http.NotFoundHandler()).all {
		paths = append(paths, r.path)
	}
	for _, p := range paths {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			r := do(t, method, m.URL()+p)
			if r.code != 405 || r.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, p, r.code, r.header.Get("Allow"))
			}
		}
		if strings.HasSuffix(p, "/profile") || strings.HasSuffix(p, "/trace") {
			continue // these take their time
		}
		if r := do(t, "HEAD", m.URL()+p); r.body != "" || r.code >= 500 {
			t.Errorf("HEAD %s: %d with %d bytes", p, r.code, len(r.body))
		}
		if r := get(t, m.URL()+p); r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("GET %s: headers %v", p, r.header)
		}
	}
}

func TestUnknownPath(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{})
	for _, p := range []string{
		"/nope", "/varz/", "//varz", "/../varz", "/a/../varz", "/%2e%2e/varz", "/VARZ", "/varz%00", "/metrics/x", "/" + strings.Repeat("a", 8000),
		"/stacksz", "/debug/vars", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug", // not without Debug
	} {
		r := get(t, m.URL()+p)
		r.mustBe(t, 404, "/readyz", "/varz")
		if strings.Contains(r.body, "aaaa") || strings.Contains(r.body, "debug") {
			t.Errorf("%.30s: the answer repeats what was asked: %.200s", p, r.body)
		}
	}
}

func TestDebug(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{Debug: true})
	get(t, m.URL()+"/stacksz").mustBe(t, 200, "goroutine")
	get(t, m.URL()+"/debug/vars").mustBe(t, 200, "memstats")
	get(t, m.URL()+"/debug/pprof/").mustBe(t, 200, "goroutine")
	get(t, m.URL()+"/debug/pprof/goroutine?debug=1").mustBe(t, 200, "goroutine profile")
	get(t, m.URL()+"/debug/pprof/nope").mustBe(t, 404)
	get(t, m.URL()+"/").mustBe(t, 200, "/debug/pprof/")
}

// A profile that is longer than the write timeout arrives whole: pprof reaches the deadline through our writer.
func TestLongProfile(t *testing.T) {
	t.Parallel()
	m := open(t, opening(), Options{Debug: true})
	s := httptest.NewUnstartedServer(m.http.Handler)
	s.Config.WriteTimeout = time.Second
	s.Start()
	defer s.Close()
	get(t, s.URL+"/debug/pprof/trace?seconds=1.2").mustBe(t, 200, "go 1.")
}

func TestAllowOrigin(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{AllowOrigin: "https://console.example"})
	for _, p := range []string{"/varz", "/readyz", "/metrics", "/nope", "/"} {
		if h := get(t, m.URL()+p).header["Access-Control-Allow-Origin"]; len(h) != 1 || h[0] != "https://console.example" {
			t.Errorf("%s: %q", p, h)
		}
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{Version: "1.2.3 <b>"})
	r := get(t, m.URL()+"/")
	r.mustBe(t, 200, "1.2.3 &lt;b&gt;", "Ready", `href="./readyz"`, "/jsz", "/metrics")
	if strings.Contains(r.body, "http://") || strings.Contains(r.body, "https://") {
		t.Error("the page loads something from somewhere")
	}
}

// What no well-behaved client sends: the answer is a status, the monitor goes on.
func TestHostile(t *testing.T) {
	t.Parallel()
	m := open(t, serving(t), Options{})
	for name, c := range map[string]struct{ request, status string }{
		"HTTP/1.0":            {"GET /livez HTTP/1.0\r\n\r\n", "200"},
		"HTTP/1.0 keep alive": {"GET /varz HTTP/1.0\r\nConnection: close\r\n\r\n", "200"},
		"no host":             {"GET /varz HTTP/1.1\r\n\r\n", "400"},
		"not HTTP":            {"INFO {}\r\n\r\n", "400"},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"huge header":         {"GET /varz HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "431"},
		"huge path":           {"GET /" + strings.Repeat("x", 2*maxHeaderBytes) + " HTTP/1.1\r\nHost: a\r\n\r\n", "431"},
		"dots":                {"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"},
		"absolute":            {"GET http://elsewhere/varz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"},
		"OPTIONS *":           {"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"},
		"CONNECT":             {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404"},
		"bad escape":          {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"bad query":           {"GET /connz?limit=%zz&;;=& HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"},
		"two lengths":         {"GET /varz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		"a body":              {"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "200"},
		"a body never sent":   {"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := raw(t, m, c.request)
			if !strings.HasPrefix(resp, "HTTP/1.") || !strings.Contains(resp, " "+c.status+" ") {
				t.Errorf("want %s: %.100q", c.status, resp)
			}
		})
	}
	t.Cleanup(func() { get(t, m.URL()+"/livez").mustBe(t, 200) })
}

// raw sends bytes and returns the first line of the answer.
func raw(t *testing.T, m *Monitor, request string) string {
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(c, request) // a refused request may not be read to its end
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestLimitsAreSet(t *testing.T) {
	t.Parallel()
	for _, debug := range []bool{false, true} {
		h := open(t, opening(), Options{Debug: debug}).http
		if h.ReadHeaderTimeout <= 0 || h.WriteTimeout <= 0 || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 || h.Handler == nil {
			t.Errorf("a slow client is not bounded: %+v", h)
		}
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	m := open(t, opening(), Options{})
	_, err := Open(m.Addr().String(), opening(), Options{})
	if err == nil || !strings.Contains(err.Error(), m.Addr().String()) {
		t.Errorf("a busy port: %v", err)
	}
	for _, addr := range []string{"", "nonsense", "127.0.0.1:99999"} {
		if _, err := Open(addr, opening(), Options{}); err == nil || !strings.Contains(err.Error(), addr) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for listen, host := range map[string]string{"127.0.0.1:0": "127.0.0.1", "0.0.0.0:0": "127.0.0.1", ":0": "127.0.0.1", "localhost:0": ""} {
		m, err := Open(listen, opening(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("http://%s:%d", host, m.Addr().(*net.TCPAddr).Port); host != "" && m.URL() != want {
			t.Errorf("%s: %s, want %s", listen, m.URL(), want)
		}
		get(t, m.URL()+"/livez").mustBe(t, 200)
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Clients that only connect, or never finish their request, do not hold up Close.
func TestCloseDoesNotWaitForSilence(t *testing.T) {
	t.Parallel()
	m := open(t, opening(), Options{})
	for _, start := range []string{"", "GET /varz HTTP/1.1\r\nHost:"} {
		c, err := net.Dial("tcp", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, start)
	}
	waitFor(t, "both connections accepted", func() bool {
		m.fresh.mu.Lock()
		defer m.fresh.mu.Unlock()
		return len(m.fresh.conns) == 2
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for range 3 {
		if err := m.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := net.Dial("tcp", m.Addr().String()); err == nil {
		t.Error("still listening")
	}
}
