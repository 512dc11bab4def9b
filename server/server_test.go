package server_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/crypto/bcrypt"
)

func TestStart(t *testing.T) {
	t.Parallel()
	cfg := onDisk(t)
	s := start(t, cfg)
	st := s.State()
	if st.Phase != server.Serving || len(st.Done.Changes) != 10 || !st.Plan.Empty() || !st.Storage.New || !st.Storage.SyncAlways || st.Storage.Limit != 10<<30 {
		t.Errorf("%+v", st)
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for subject, stream := range map[string]string{"events.clearing.window.opened": "CLEARING", "events.transactions.created": "TRANSACTIONS"} {
		ack, err := over(t, nc).Publish(context.Background(), subject, nil)
		if err != nil || ack.Stream != stream {
			t.Errorf("%s went to %v, %v", subject, ack, err)
		}
	}
	if m := s.Missing(); len(m) > 0 {
		t.Errorf("missing %q", m)
	}
}

// Whoever can connect finds every stream and consumer: nobody connects before, and the first one looks.
func TestGateOpensLast(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := server.New(onDisk(t, config.Set("test", "nats.listen", addr)), logTo(t))
	defer stop(t, s)
	type seen struct {
		missing []string
		phase   server.Phase
	}
	first := make(chan seen, 1)
	go func() {
		for {
			nc, err := nats.Connect("nats://" + addr)
			if err == nil {
				first <- seen{s.Missing(), s.State().Phase}
				nc.Close()
				return
			}
			select {
			case <-s.Done():
				return
			default:
			}
		}
	}()
	if err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.State().Phase; got != server.Standing || s.ClientURL() != "" {
		t.Errorf("open: %s %q", got, s.ClientURL())
	}
	publish(t, js(t, s), "events.risk.x", 1) // in process it works already
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if f := <-first; len(f.missing) > 0 || f.phase != server.Standing && f.phase != server.Serving {
		t.Errorf("the first client: %+v", f)
	}
}

func TestSecondStartChangesNothing(t *testing.T) {
	t.Parallel()
	cfg := onDisk(t)
	s := start(t, cfg)
	publish(t, js(t, s), "events.audit.user.changed", 3)
	stop(t, s)
	s = start(t, cfg)
	if st := s.State(); !st.Done.Empty() || !st.Plan.Empty() || st.Storage.New {
		t.Errorf("%+v", st)
	}
	if n := messages(t, js(t, s), "AUDIT"); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// A field that would cost messages holds back itself and nothing else; the bus is up with the old setting.
func TestLossyFieldIsHeldBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.risk.x", 5)
	stop(t, s)
	published := time.Now()
	until(t, "the messages are older than the max_age to come", func() bool { return time.Since(published) > 150*time.Millisecond })
	s = start(t, at(t, dir, toml("[[streams]]\nname = \"RISK\"\nmax_age = \"100ms\"\nduplicate_window = \"100ms\"\ndescription = \"new\"\n")))
	st := s.State()
	if len(st.Plan.Changes) != 1 || messages(t, js(t, s), "RISK") != 5 {
		t.Fatalf("%+v", st.Plan)
	}
	held := st.Plan.Changes[0]
	for _, f := range held.Fields {
		if f.Name == "max_age" && (f.Class != bootstrap.Loses || f.Cost == nil || f.Cost.Messages != 5) {
			t.Errorf("%+v", f)
		}
		if f.Name == "description" {
			t.Error("a safe field was held back")
		}
	}
}

func TestStoreHasOneHolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	_, err := server.Start(context.Background(), at(t, dir), logTo(t))
	if !errors.Is(err, server.ErrInUse) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("%v", err)
	}
	if runtime.GOOS != "windows" { // somebody tired makes the error go away
		if err := os.Remove(filepath.Join(dir, "deltran-bus.lock")); err != nil {
			t.Fatal(err)
		}
		_, err = server.Start(context.Background(), at(t, dir), logTo(t))
		if !errors.Is(err, server.ErrInUse) || !strings.Contains(err.Error(), "deltran-bus.lock was deleted") {
			t.Errorf("%v", err)
		}
	}
	publish(t, js(t, s), "events.risk.x", 1)
	stop(t, s)
	start(t, at(t, dir))
}

// What cannot start leaves no trace.
func TestRefusalsTouchNothing(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tmp := t.TempDir()
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(tmp, "foreign")
	if err := errors.Join(os.Mkdir(foreign, 0o700), os.WriteFile(filepath.Join(foreign, "PG_VERSION"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		dir, want string
		src       config.Source
	}{
		"busy port":         {filepath.Join(tmp, "a", "b"), "is in use by another process", config.Set("test", "nats.listen", busy.Addr().String())},
		"busy websocket":    {filepath.Join(tmp, "a", "b"), "websocket port", toml("[nats.websocket]\nno_tls = true\nlisten = \"" + busy.Addr().String() + "\"")},
		"foreign address":   {filepath.Join(tmp, "a", "b"), "client port 192.0.2.1:4222", toml("[nats]\nlisten = \"192.0.2.1:4222\"\n[bus]\nallow_insecure = true")},
		"file for folder":   {file, "is a file", toml("")},
		"below a file":      {filepath.Join(file, "x"), "not a directory", toml("")},
		"others' files":     {foreign, "holds other files (PG_VERSION)", toml("")},
		"no store":          {filepath.Join(tmp, "a", "b"), "there is no store", toml("[bus]\nstore_must_exist = true")},
		"NATS's own checks": {filepath.Join(tmp, "a", "b"), "max_pending", toml("[nats]\nmax_pending = 10")},
	} {
		t.Run(name, func(t *testing.T) {
			before := tree(t, tmp)
			_, err := server.Start(context.Background(), at(t, tc.dir, tc.src), logTo(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
			if after := tree(t, tmp); after != before {
				t.Errorf("left behind:\n%s", after)
			}
		})
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		b.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Bootstrapping over a store that did not recover would delete it: a wrong key is refused, and the right one finds
// everything.
func TestUnrecoveredStoreIsLeftAlone(t *testing.T) {
	t.Setenv("DELTRAN_TEST_KEY", "the-right-encryption-key")
	dir := filepath.Join(t.TempDir(), "store")
	key := toml("[nats.jetstream]\nkey = \"env:DELTRAN_TEST_KEY\"\n")
	s := start(t, at(t, dir, key))
	publish(t, js(t, s), "events.settlement.completed", 7)
	stop(t, s)
	for what, cfg := range map[string]*config.Config{"no key": at(t, dir), "another key": at(t, dir, key)} {
		t.Setenv("DELTRAN_TEST_KEY", "another-encryption-key")
		_, err := server.Start(context.Background(), cfg, logTo(t))
		if err == nil || strings.Contains(err.Error(), "encryption-key") {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
	t.Setenv("DELTRAN_TEST_KEY", "the-right-encryption-key")
	s = start(t, at(t, dir, key))
	if n := messages(t, js(t, s), "SETTLEMENT"); n != 7 {
		t.Errorf("%d messages", n)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t))
	if err := errors.Join(js(t, s).DeleteStream(context.Background(), "RISK"), js(t, s).DeleteConsumer(context.Background(), "REPORTING", "reporting-engine-consumer")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Missing(), ", "); got != "consumer REPORTING/reporting-engine-consumer, stream RISK" {
		t.Error(got)
	}
}

func TestCloseInEveryPhase(t *testing.T) {
	t.Parallel()
	t.Run("before Open", func(t *testing.T) {
		s := server.New(onDisk(t), logTo(t))
		stop(t, s)
		stop(t, s)
		if err := s.Listen(); err == nil {
			t.Error("listened")
		}
		<-s.Done()
	})
	t.Run("standing", func(t *testing.T) {
		s := server.New(onDisk(t), logTo(t))
		if err := s.Open(context.Background()); err != nil {
			t.Fatal(err)
		}
		stop(t, s)
	})
	t.Run("serving, with a client that stays", func(t *testing.T) {
		s := start(t, onDisk(t, toml("[bus]\nlame_duck = \"50ms\"\n")))
		told := make(chan struct{}, 1)
		nc, err := nats.Connect(s.ClientURL(), nats.LameDuckModeHandler(func(*nats.Conn) { told <- struct{}{} }), nats.MaxReconnects(0))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		stop(t, s)
		<-told
		if s.State().Phase != server.Closed {
			t.Error(s.State().Phase)
		}
	})
	t.Run("abandoned, with a client that stays", func(t *testing.T) {
		s := start(t, onDisk(t, toml("[bus]\nlame_duck = \"1h\"\n[nats.jetstream]\nsync_interval = \"2m\"\n")))
		nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(0))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := s.Abandon(); err != nil || s.State().Phase != server.Closed {
			t.Error(s.State().Phase, err)
		}
	})
	t.Run("by itself", func(t *testing.T) {
		s := start(t, onDisk(t))
		s.NATS().Shutdown()
		<-s.Done()
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s, err := server.Start(ctx, onDisk(t), logTo(t))
		if err == nil {
			stop(t, s)
		}
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// With accounts declared, the streams stay in $G, where a stock server has them, and the bus still comes in.
func TestAccounts(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.risk.x", 3)
	stop(t, s)
	s = start(t, at(t, dir, toml(`
[nats.authorization]
users = [ { user = "engine", password = "env:DELTRAN_TEST_PASSWORD" } ]
[nats.accounts.TENANT]
jetstream = { max_file = "1GB" }
users = [ { user = "tenant", password = "env:DELTRAN_TEST_PASSWORD" } ]
`)))
	if n := messages(t, js(t, s), "RISK"); n != 3 {
		t.Errorf("%d messages", n)
	}
	if _, err := nats.Connect(s.ClientURL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("anonymous: %v", err)
	}
	for user, want := range map[string]uint64{"engine": 3, "tenant": 0} {
		nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, "s3cret-password"))
		if err != nil {
			t.Fatal(user, err)
		}
		defer nc.Close()
		st, err := over(t, nc).Stream(context.Background(), "RISK")
		if want == 0 && !errors.Is(err, jetstream.ErrStreamNotFound) || want > 0 && (err != nil || st.CachedInfo().State.Msgs != want) {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// However clients log in, the bus does too, and only through its own process.
func TestAuthentication(t *testing.T) {
	t.Setenv("DELTRAN_TEST_PASSWORD", "s3cret-password")
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cret-password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		auth  string
		login nats.Option
	}{
		"token":    {`token = "env:DELTRAN_TEST_PASSWORD"`, nats.Token("s3cret-password")},
		"one user": {"user = \"a\"\npassword = \"env:DELTRAN_TEST_PASSWORD\"", nats.UserInfo("a", "s3cret-password")},
		"users":    {`users = [ { user = "a", password = "env:DELTRAN_TEST_PASSWORD" } ]`, nats.UserInfo("a", "s3cret-password")},
		"a bcrypt": {`users = [ { user = "a", password = "` + string(hash) + `" } ]`, nats.UserInfo("a", "s3cret-password")},
		"callout":  {"users = [ { user = \"a\", password = \"env:DELTRAN_TEST_PASSWORD\" } ]\nauth_callout = { issuer = \"ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA\", auth_users = [\"a\"] }", nats.UserInfo("a", "s3cret-password")},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, onDisk(t, toml("[nats.authorization]\n"+tc.auth+"\n")))
			publish(t, js(t, s), "events.risk.x", 1)
			nc, err := nats.Connect(s.ClientURL(), tc.login)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			publish(t, over(t, nc), "events.risk.x", 1)
			if _, err := nats.Connect(s.ClientURL(), nats.UserInfo("a", "wrong"), nats.Timeout(5*time.Second)); err == nil {
				t.Error("let in with a wrong password")
			}
		})
	}
}
