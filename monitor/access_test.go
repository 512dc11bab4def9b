package monitor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ask sends a request with those headers.
func ask(t *testing.T, c *http.Client, url, authorization string) (code int, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{true, false} {
		m := openMonitor(t, Options{Debug: true, Access: Access{Token: "s3cr3t"}, OpenProbes: open})
		c := &http.Client{Transport: &http.Transport{}}
		t.Cleanup(c.CloseIdleConnections)
		paths := []string{"/", "/nope", "/debug/pprof/heap", "//varz", "/readyz/", "/READYZ"}
		for _, r := range newRoutes(m, http.NotFoundHandler()).all {
			if !strings.HasSuffix(r.path, "/profile") && !strings.HasSuffix(r.path, "/trace") { // these take their time
				paths = append(paths, r.path)
			}
		}
		for _, p := range paths {
			probe := p == "/livez" || p == "/readyz" || p == "/healthz"
			for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer s3cr3", "Bearer s3cr3tt", "Basic s3cr3t", "s3cr3t", "Bearer S3CR3T"} {
				code, body, header := ask(t, c, m.URL()+p, wrong)
				if probe && open {
					if code != 200 || strings.TrimSpace(body) != "{\n  \"status\": \"ok\"\n}" {
						t.Errorf("%s with %q: %d %s", p, wrong, code, body)
					}
				} else if code != 401 || header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(body, "STREAM") {
					t.Errorf("%s with %q: %d %s", p, wrong, code, body)
				}
			}
			if code, _, _ := ask(t, c, m.URL()+p, "bearer s3cr3t"); code == 401 {
				t.Errorf("%s: %d with the token", p, code)
			}
		}
		if code, body, _ := ask(t, c, m.URL()+"/readyz", "Bearer s3cr3t"); code != 200 || !strings.Contains(body, `"missing"`) {
			t.Errorf("%d %s", code, body)
		}
		m.Renew(Access{Token: "an0ther"})
		for token, want := range map[string]int{"s3cr3t": 401, "an0ther": 200} {
			if code, _, _ := ask(t, c, m.URL()+"/metrics", "Bearer "+token); code != want {
				t.Errorf("%s after it was renewed: %d", token, code)
			}
		}
	}
}

// Whoever is refused is told of, a guess at an open probe too, and a handshake that fails.
func TestRefused(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if address, reason, _ := strings.Cut(got, " "); !strings.HasPrefix(address, "127.0.0.1:") || !strings.HasPrefix(reason, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not told: %s", want)
		}
	}
	o := Options{OpenProbes: true, Access: Access{Token: "s3cr3t"}, Refused: func(address, reason string) { told <- address + " " + reason }}
	m := openMonitor(t, o)
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	for _, tc := range []struct{ path, authorization, reason string }{
		{"/varz", "", "no token"}, {"/varz", "Bearer s3cr3", "a wrong token"}, {"/nope", "Basic s3cr3t", "a wrong token"}, {"/readyz", "Bearer guess", "a wrong token"},
	} {
		ask(t, c, m.URL()+tc.path, tc.authorization)
		expect(tc.reason)
	}
	ask(t, c, m.URL()+"/readyz", "")
	ask(t, c, m.URL()+"/varz", "Bearer s3cr3t")
	a := newAuthority(t)
	o.Access.TLS = a.server(t, time.Now().Add(time.Hour))
	closed := openMonitor(t, o)
	conn, err := net.Dial("tcp", closed.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\n\r\n")
	expect("TLS handshake: client sent an HTTP request to an HTTPS server")
	if len(told) > 0 {
		t.Errorf("told as well: %s", <-told)
	}
}

func openMonitor(t *testing.T, o Options) *Monitor {
	t.Helper()
	return open(t, serving(t, "stream STREAM"), o)
}

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	pair := a.sign(t, template, time.Now().Add(time.Hour))
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t *testing.T, cert *x509.Certificate, expires time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), expires
	by, with := a.cert, a.key
	if by == nil {
		by, with = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by, key.Public(), with)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) server(t *testing.T, expires time.Time) *tls.Config {
	t.Helper()
	pair := a.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, expires)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
}

// A new certificate is for new connections; those that are there go on. The metric tells when the one in force expires.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	first, second := time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
	m := openMonitor(t, Options{Access: Access{TLS: a.server(t, first)}})
	if !strings.HasPrefix(m.URL(), "https://") {
		t.Errorf("URL %s", m.URL())
	}
	client := func() *http.Client {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool}}}
		t.Cleanup(c.CloseIdleConnections)
		return c
	}
	expiry := func(c *http.Client) string {
		_, body, _ := ask(t, c, m.URL()+"/metrics", "")
		for line := range strings.Lines(body) {
			if v, ok := strings.CutPrefix(line, `deltran_bus_certificate_expiry_timestamp_seconds{listener="monitor"} `); ok {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	want := func(at time.Time) string { return fmt.Sprintf("%.9e", float64(at.Unix()))[:6] }
	old := client()
	if got := expiry(old); !strings.HasPrefix(got, want(first)) {
		t.Errorf("expires %q, want %s…", got, want(first))
	}
	dials := 0
	old.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		dials++
		return nil, fmt.Errorf("a new connection")
	}
	m.Renew(Access{TLS: a.server(t, second)})
	if got := expiry(old); !strings.HasPrefix(got, want(second)) || dials > 0 {
		t.Errorf("on the old connection, of %d new ones: expires %q", dials, got)
	}
	fresh := client()
	resp, err := fresh.Get(m.URL() + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if is := resp.TLS.PeerCertificates[0].NotAfter; !is.Equal(second.Truncate(time.Second).UTC()) {
		t.Errorf("a new connection has a certificate until %s", is)
	}
	plain := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(plain.CloseIdleConnections)
	if code, body, _ := ask(t, plain, strings.Replace(m.URL(), "https:", "http:", 1)+"/varz", ""); code != 400 {
		t.Errorf("plain HTTP: %d %s", code, body)
	}
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	cfg := a.server(t, time.Now().Add(time.Hour))
	cfg.ClientCAs, cfg.ClientAuth = a.pool, tls.RequireAndVerifyClientCert
	m := openMonitor(t, Options{Access: Access{TLS: cfg}})
	pair := a.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, time.Now().Add(time.Hour))
	for _, shown := range [][]tls.Certificate{nil, {pair}} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool, Certificates: shown}}}
		t.Cleanup(c.CloseIdleConnections)
		resp, err := c.Get(m.URL() + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (shown != nil) {
			t.Errorf("with %d certificates: %v", len(shown), err)
		}
	}
}
