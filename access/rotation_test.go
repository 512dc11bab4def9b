package access_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

var rotations = flag.Int("rotations", 50, "how often TestRotation changes certificates and passwords")

// site is a declaration whose certificates and passwords change.
type site struct {
	dir  string
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	nkey nkeys.KeyPair
	user string // its public key
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), pool: x509.NewCertPool()}
	s.ca = &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, key := s.sign(t, s.ca)
	s.key = key
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.ca = ca
	s.pool.AddCert(ca)
	if s.nkey, err = nkeys.CreateUser(); err == nil {
		s.user, err = s.nkey.PublicKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) sign(t *testing.T, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	by := s.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, s.ca, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(s.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// round is the declaration of the n-th rotation: a new certificate; the password of rotating-n beside the one before it,
// so that clients can change over; and a service that comes in every second one.
func (s *site) round(t *testing.T, n int) string {
	t.Helper()
	der, key := s.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write(t, "server-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	s.write(t, fmt.Sprint("password-", n), []byte(secretOf(n)))
	before := ""
	if n > 0 {
		before = fmt.Sprintf("rotating-%d = 'file:%s', ", n-1, s.path(fmt.Sprint("password-", n-1)))
	}
	text := fmt.Sprintf(`
[nats]
listen = "127.0.0.1:0"
[nats.tls]
cert_file = '%[1]s'
key_file = '%[2]s'
[[services]]
name = "engine"
nkeys = ["%[3]s"]
publishes = ["events.transactions.>", "events.notifications.>"]
[[services]]
name = "steady"
password = "env:MATRIX_PASSWORD"
consumes = ["NOTIFICATIONS/notification-engine-consumer"]
[[services]]
name = "rotating"
users = { %[4]srotating-%[5]d = 'file:%[6]s' }
publishes = ["events.risk.>"]
[[streams]]
name = "NOTIFICATIONS"
[[streams.consumers]]
name = "notification-engine-consumer"
ack_wait = "2s"
max_deliver = -1
`, s.path("server.pem"), s.path("server-key.pem"), s.user, before, n, s.path(fmt.Sprint("password-", n)))
	if n%2 == 1 {
		text += "[[services]]\nname = \"odd\"\npassword = \"env:MATRIX_PASSWORD\"\npublishes = [\"events.clearing.>\"]\n"
	}
	return text
}

func secretOf(n int) string { return fmt.Sprint("s3cr3t-of-round-", n) }

// Certificates and passwords change under load: nobody is sent away who may stay, nothing acknowledged is lost, everything
// is delivered, and whoever may not stay is gone within a second.
func TestRotation(t *testing.T) {
	t.Parallel()
	site := newSite(t)
	b := start(t, site.round(t, 0))
	var dropped atomic.Int64
	dial := func(opts ...nats.Option) *nats.Conn {
		nc, err := nats.Connect(b.ClientURL(), append(opts, nats.RootCAs(site.caFile(t)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	stays := nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
		if !nc.IsClosed() {
			dropped.Add(1)
		}
	})
	engine := func() *nats.Conn { return dial(nats.Nkey(site.user, site.nkey.Sign), stays) }

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var acked, failed [2]atomic.Int64
	for i, subject := range []string{"events.transactions.created", "events.notifications.sent"} {
		for range 2 {
			js, err := jetstream.New(engine())
			if err != nil {
				t.Fatal(err)
			}
			working.Go(func() {
				for ctx.Err() == nil {
					if _, err := js.Publish(t.Context(), subject, []byte("{}")); err == nil {
						acked[i].Add(1)
					} else {
						failed[i].Add(1)
					}
				}
			})
		}
	}
	var consumed sync.Map
	var count atomic.Int64
	steady := dial(nats.UserInfo("steady", password), stays)
	consuming, err := consumer(t, steady, "NOTIFICATIONS", "notification-engine-consumer").Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil || m.Ack() != nil {
			return
		}
		if _, again := consumed.LoadOrStore(meta.Sequence.Stream, true); !again {
			count.Add(1)
		}
	}, jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(time.Second)) // a reload may take what is under way: it comes again
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()

	gone := make(chan struct{}, 1)
	watched := func(n int) *nats.Conn {
		return dial(nats.UserInfo(fmt.Sprint("rotating-", n), secretOf(n)), nats.MaxReconnects(0), nats.ClosedHandler(func(*nats.Conn) { gone <- struct{}{} }))
	}
	leaving := watched(0)
	slowest := time.Duration(0)
	for n := 1; n <= *rotations; n++ {
		cfg, err := config.Load(config.File("site.toml", site.round(t, n)), config.Set("test", "nats.jetstream.store_dir", b.cfg.StoreDir()))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := b.Reload(t.Context(), cfg.Ephemeral()); err != nil {
			t.Fatal(err)
		}
		if n > 1 { // the one before the last
			select {
			case <-gone:
				slowest = max(slowest, time.Since(began))
			case <-time.After(time.Second):
				t.Fatalf("round %d: the user of round %d is still there a second later: %v", n, n-2, leaving.Status())
			}
			if _, err := nats.Connect(b.ClientURL(), nats.RootCAs(site.caFile(t)), nats.UserInfo(fmt.Sprint("rotating-", n-2), secretOf(n-2))); !errors.Is(err, nats.ErrAuthorization) {
				t.Fatalf("round %d: the user of round %d comes in: %v", n, n-2, err)
			}
			leaving = watched(n - 1)
		}
		if n == 1 {
			continue // the first stays for one more, beside the second
		}
		nc := dial(nats.UserInfo(fmt.Sprint("rotating-", n), secretOf(n)))
		if nc.Status() != nats.CONNECTED {
			t.Fatal(nc.Status())
		}
		nc.Close() // or it tries again and again when its user has gone; nats-server 2.15.2 reads in a reload what a client writes then
	}
	stop()
	working.Wait()
	if n := dropped.Load(); n > 0 {
		t.Errorf("%d connections were dropped", n)
	}
	for i, stream := range []string{"TRANSACTIONS", "NOTIFICATIONS"} {
		s, err := b.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := int64(s.CachedInfo().State.Msgs), acked[i].Load(); got < want || got > want+failed[i].Load() {
			t.Errorf("%s holds %d messages, of which %d were acknowledged and %d not", stream, got, want, failed[i].Load())
		}
		t.Logf("%s: %d acknowledged, %d not", stream, acked[i].Load(), failed[i].Load())
		if stream == "NOTIFICATIONS" {
			await(t, "everything to be consumed", func() bool { return count.Load() == int64(s.CachedInfo().State.Msgs) })
		}
	}
	t.Logf("a removed user was gone after %s at most", slowest)
}

// caFile is the authority as clients read it.
func (s *site) caFile(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(s.path("ca.pem")); err != nil {
		s.write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw}))
	}
	return s.path("ca.pem")
}
