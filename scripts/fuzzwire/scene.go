package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/witness"
	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	wireFuzzers = 8
	webFuzzers  = 4
	most        = 1 << 30 // bytes of memory that the bus may come to take
)

// services is a bus where everybody logs in, over TLS. Who is fuzzing is the service "engine", or nobody.
const services = `
[nats.tls]
cert_file = "DIR/tls/server.pem"
key_file = "DIR/tls/server-key.pem"
ca_file = "DIR/tls/ca.pem"
[monitor]
token = "file:DIR/token"
open_probes = true
[monitor.tls]
cert_file = "DIR/tls/server.pem"
key_file = "DIR/tls/server-key.pem"
[[services]]
name = "engine"
password = "file:DIR/engine"
publishes = ["events.notifications.>"]
consumes = ["NOTIFICATIONS/notification-engine-consumer"]
[[services]]
name = "owner"
password = "file:DIR/owner"
role = "admin"
`

// A scene is one bus, those who behave, and those who do not.
type scene struct {
	kind, binary string
	seed         uint64
	dir          string
	args         []string
	bus          *busproc.Bus
	roots        *x509.CertPool // nil: no TLS
	w            *witness.Witness
	name         string // begins the names of the witness's streams, so that no fuzzer meets them by accident
	wires, webs  atomic.Int64
	sent         atomic.Int64
	took         uint64 // the most memory that the bus had
	trails       [wireFuzzers + webFuzzers]trail
}

// trail is the last that a fuzzer sent.
type trail struct {
	mu   sync.Mutex
	last [4][]byte
	n    int
}

func (t *trail) add(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[t.n%len(t.last)] = b[:min(len(b), 64<<10)]
	t.n++
}

func (s *scene) prepare(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "fuzzwire-"); err != nil {
		return err
	}
	s.args = []string{"--store-dir", filepath.Join(s.dir, "store")}
	s.name = fmt.Sprintf("W%016X", rand.Uint64())
	own := func(name string, maximum, window int, consume bool) witness.Stream {
		subject := s.name + "." + name
		return witness.Stream{Subject: subject, Min: 64, Max: maximum, Window: window, Consume: consume,
			Config: jetstream.StreamConfig{Name: s.name + name, Subjects: []string{subject}, AllowDirect: true}}
	}
	s.w = witness.New([]witness.Stream{own("READ", 1000, 4, true), own("KEPT", 20_000, 1, false)}, nil)
	if s.kind != "services" {
		return nil
	}
	cmd := exec.CommandContext(ctx, s.binary, "tls", "init")
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tls init: %w: %s", err, out)
	}
	for name, text := range map[string]string{"engine": "engine-password", "owner": "owner-password", "token": "monitor-token",
		"bus.toml": strings.ReplaceAll(services, "DIR", filepath.ToSlash(s.dir))} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	s.args = append(s.args, "-c", filepath.Join(s.dir, "bus.toml"))
	ca := filepath.Join(s.dir, "tls", "ca.pem")
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(pem)
	s.w.Login = []nats.Option{nats.UserInfo("owner", "owner-password"), nats.RootCAs(ca)}
	return nil
}

// play starts the bus, has everybody do what they do for so long, and looks at what is left.
func (s *scene) play(ctx context.Context, long time.Duration) (said string, err error) {
	if err := s.prepare(ctx); err != nil {
		return "", err
	}
	defer os.RemoveAll(s.dir)
	if s.bus, err = busproc.Start(ctx, s.binary, s.args...); err != nil {
		return "", err
	}
	defer func() { _ = s.bus.Kill() }()
	nc, err := nats.Connect(s.bus.Client, s.w.Login...)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	if err := s.w.Create(ctx, js); err != nil {
		return "", err
	}
	if err = s.disturb(ctx, js, long); err == nil {
		err = s.judge(ctx)
	}
	if err != nil {
		return "", errors.Join(err, s.dump())
	}
	return fmt.Sprintf("%s sessions of NATS and %s of HTTP, %s sent; %s acknowledged to those who behaved, 0 lost, none twice, in order; memory at most %s",
		humanize.Comma(s.wires.Load()), humanize.Comma(s.webs.Load()), humanize.IBytes(uint64(s.sent.Load())),
		humanize.Comma(int64(s.w.Acknowledged(witness.Now))), humanize.IBytes(s.took)), nil
}

// disturb returns when the time is over, or early with what went wrong.
func (s *scene) disturb(ctx context.Context, js jetstream.JetStream, long time.Duration) error {
	loading, behave := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.w.Load(loading, s.bus.Client) }()
	fuzzing, cancel := context.WithTimeout(ctx, long)
	var wg sync.WaitGroup
	for n := range wireFuzzers + webFuzzers {
		f := &fuzzer{scene: s, n: n, Rand: rand.New(rand.NewPCG(s.seed, uint64(n)))}
		one := f.wire
		if n >= wireFuzzers {
			one = f.web
		}
		wg.Go(func() {
			for fuzzing.Err() == nil {
				one(fuzzing)
			}
		})
	}
	var wrong error
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ended := ended; wrong == nil && fuzzing.Err() == nil; {
		select {
		case err := <-ended:
			wrong = fmt.Errorf("those who behaved were sent away: %v", err)
			ended = nil
		case <-tick.C:
			wrong = errors.Join(s.ready(), s.tidy(fuzzing, js))
		case <-fuzzing.Done():
		}
	}
	cancel()
	wg.Wait()
	behave()
	if wrong != nil {
		return fmt.Errorf("%w\n%s", wrong, tail(s.bus.Stderr()))
	}
	return errors.Join(<-ended, ctx.Err())
}

// tidy removes the streams that fuzzers have made, so that they do not fill the store: on a bus without log-ins anybody can.
func (s *scene) tidy(ctx context.Context, js jetstream.JetStream) error {
	if s.kind != "open" {
		return nil
	}
	for name := range js.StreamNames(ctx).Name() {
		if strings.HasPrefix(name, "FUZZ") || strings.HasPrefix(name, "KV_") {
			_ = js.DeleteStream(ctx, name) // it may be gone
		}
	}
	return nil
}

func (s *scene) ready() error {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.roots}}}
	resp, err := client.Get(s.bus.Monitor + "/readyz")
	if err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz says %s", resp.Status)
	}
	return nil
}

var panics = regexp.MustCompile(`(?m)^.*(panic|fatal error:|runtime error|^goroutine \d+ \[).*$`)

// judge looks at the bus when everything is quiet again, and once more when it was started anew.
func (s *scene) judge(ctx context.Context) error {
	if line := panics.FindString(s.bus.Stderr()); line != "" {
		return fmt.Errorf("its log has: %s", line)
	}
	if s.took = peak(s.bus.PID); s.took > most {
		return fmt.Errorf("it took %s of memory", humanize.IBytes(s.took))
	}
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.look(ctx, s.bus); err != nil {
		return err
	}
	if err := s.w.Drain(ctx, s.bus.Client, witness.Now); err != nil {
		return err
	}
	if err := s.bus.Stop(); err != nil {
		return err
	}
	again, err := busproc.Start(ctx, s.binary, s.args...)
	if err != nil {
		return err
	}
	defer func() { _ = again.Kill() }()
	if err := s.look(ctx, again); err != nil {
		return fmt.Errorf("started anew: %w", err)
	}
	return again.Stop()
}

func (s *scene) look(ctx context.Context, b *busproc.Bus) error {
	res, err := s.w.Check(ctx, b.Client, witness.Now, true)
	if err == nil && res.Acknowledged == 0 {
		err = errors.New("nothing was acknowledged to those who behaved")
	}
	return errors.Join(err, res.Err())
}

// dump writes down what was sent last, and what the bus said.
func (s *scene) dump() error {
	dir, err := os.MkdirTemp("", "fuzzwire-found-")
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(dir, "log"), []byte(s.bus.Stderr()), 0o600)
	for n := range s.trails {
		t := &s.trails[n]
		t.mu.Lock()
		for i := max(0, t.n-len(t.last)); i < t.n; i++ {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("fuzzer%d-%d", n, i)), t.last[i%len(t.last)], 0o600))
		}
		t.mu.Unlock()
	}
	return errors.Join(err, fmt.Errorf("what was sent last, and the log: %s", dir))
}

func tail(log string) string { return log[max(0, len(log)-4000):] }

// peak is the most memory that a process has had; 0 where the system does not tell. A process that has ended has none.
func peak(pid int) uint64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	if words := strings.Fields(rest); len(words) > 0 {
		kib, _ := strconv.ParseUint(words[0], 10, 64)
		return kib << 10
	}
	return 0
}
