package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

var (
	paths = []string{"/", "/livez", "/readyz", "/healthz", "/metrics", "/varz", "/connz", "/routez", "/gatewayz", "/leafz", "/subsz", "/accountz", "/accstatz", "/jsz", "/raftz",
		"/ipqueuesz", "/stacksz", "/expvarz", "/debug/pprof/", "/debug/vars", "/nothing", "//varz", "/../varz", "/varz/", "/%2e%2e/etc/passwd", "/varz%00", "*", "http://other/varz", ""}
	keys = []string{"sort", "subs", "offset", "limit", "state", "cid", "auth", "mqtt_client", "acc", "user", "filter_subject", "accounts", "streams", "consumers", "config", "leader-only",
		"raft", "stream-leader-only", "js-enabled-only", "js-server-only", "account", "stream", "consumer", "details", "callback", "queues", "group", "unused", "test", "a;b", "direct-consumers"}
	values = []string{"", "1", "0", "-1", "true", "detail", "2147483648", "99999999999999999999", "FUZZ", "$G", "cid", "idle", "stop", "all", "closed", "<script>", "%00", "%zz", "a%0d%0ab: c", "1e9"}
	lines  = []string{"Host: x", "Host:", "Host: a\r\nHost: b", "Range: bytes=0-", "Range: bytes=5-1,-1,9-", "Accept-Encoding: gzip", "Authorization: Bearer monitor-token", "Authorization: Bearer x",
		"Authorization: Basic !", "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked, x", "Expect: 100-continue",
		"Connection: keep-alive", "Connection: Upgrade\r\nUpgrade: websocket", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "Origin: http://evil",
		"Accept: application/openmetrics-text", "Accept: */*;q=x", "If-None-Match: *", "no colon", " folded", ": x", "X-\x00: y"}
)

// request is one of HTTP, right or nearly so.
func (f *fuzzer) request() []byte {
	var b strings.Builder
	b.WriteString(pick(f, []string{"GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "", strings.Repeat("A", 5000)}) + " " + pick(f, paths))
	for i := range f.IntN(4) {
		b.WriteString(map[bool]string{true: "?", false: "&"}[i == 0] + pick(f, keys) + "=" + pick(f, values))
	}
	if f.IntN(30) == 0 {
		b.WriteString("?a=" + strings.Repeat("b", f.IntN(2<<20)))
	}
	b.WriteString(" " + pick(f, []string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""}) + "\r\nHost: bus\r\n")
	if f.kind == "services" && f.IntN(3) > 0 {
		b.WriteString("Authorization: Bearer monitor-token\r\n")
	}
	for range f.IntN(4) {
		b.WriteString(pick(f, lines) + "\r\n")
	}
	if f.IntN(30) == 0 {
		fmt.Fprintf(&b, "X-Long: %s\r\n", strings.Repeat("x", f.IntN(2<<20)))
	}
	b.WriteString("\r\n" + pick(f, []string{"", "", "hello", "5\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}))
	out := []byte(b.String())
	if f.IntN(4) == 0 {
		out = f.changeBytes(out)
	}
	return out
}

// web is one connection of HTTP: some requests after each other, without waiting for answers.
func (f *fuzzer) web(ctx context.Context) {
	c := f.dial(ctx, f.bus.Monitor, false)
	if c == nil {
		return
	}
	defer c.Close()
	var text []byte
	for range 1 + f.IntN(5) {
		text = append(text, f.request()...)
	}
	f.trails[f.n].add(text)
	f.webs.Add(1)
	if f.IntN(20) == 0 {
		f.dawdle(c, text)
		return
	}
	f.talk(c, text)
}

// dawdle sends a byte now and then.
func (f *fuzzer) dawdle(c net.Conn, text []byte) {
	for _, b := range text[:min(len(text), 20)] {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		f.sent.Add(1)
		time.Sleep(time.Duration(f.IntN(100)) * time.Millisecond)
	}
}
