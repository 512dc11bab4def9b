package bootstrap

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/deltran/deltran-bus/config"
)

// nats-server leaves these two behind for a while: they wait for an origin that does not exist.
func TestMain(m *testing.M) {
	const stream = "github.com/nats-io/nats-server/v2/server.(*stream)."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(stream+"setupMirrorConsumer.func3"), goleak.IgnoreAnyFunction(stream+"trySetupSourceConsumer.func3"))
}

// bus is a real nats-server in this process, without a port.
type bus struct {
	testing.TB
	ctx context.Context
	srv *natsserver.Server
	nc  *nats.Conn
	js  jetstream.JetStream
}

func start(t testing.TB, change ...func(*natsserver.Options)) *bus {
	t.Helper()
	o := &natsserver.Options{ServerName: "test", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 16 << 30, JetStreamMaxStore: 16 << 30}
	for _, f := range change {
		f(o)
	}
	srv, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(func() {
		cancel()
		nc.Close()
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return &bus{t, ctx, srv, nc, js}
}

// keep has a stream on disk for as long as the bus: nats-server removes the streams folder with the last of them, while the
// next one may be on the way into it.
func (b *bus) keep() {
	b.apply([]config.Stream{{StreamConfig: jetstream.StreamConfig{Name: "KEEP"}}}, Allow{})
}

// on is the same bus for a subtest.
func (b *bus) on(t testing.TB) *bus { c := *b; c.TB = t; return &c }

// declare reads streams from TOML; @ stands for a name that no other test has.
func declare(t testing.TB, name, text string) []config.Stream {
	t.Helper()
	text = strings.ReplaceAll(text, "@", name)
	c, err := config.LoadLayout(config.File("test.toml", "[bus]\ndefault_streams = false\n"+text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c.Streams
}

var names atomic.Int64

func unique() string { return fmt.Sprintf("S%d", names.Add(1)) }

func (b *bus) observe() Observed {
	b.Helper()
	have, err := Observe(b.ctx, b.js)
	if err != nil {
		b.Fatal(err)
	}
	return have
}

// diff leaves out what other tests have on the same server.
func (b *bus) diff(want []config.Stream) Plan {
	b.Helper()
	p := Diff(want, b.observe())
	var own []Ref
	for _, r := range p.Undeclared {
		for _, s := range want {
			if r.Stream == s.Name {
				own = append(own, r)
			}
		}
	}
	p.Undeclared = own
	return p
}

func (b *bus) apply(want []config.Stream, a Allow) Plan {
	b.Helper()
	done, err := Apply(b.ctx, b.js, b.diff(want), a)
	if err != nil {
		b.Fatal(err)
	}
	return done
}

func (b *bus) weighed(want []config.Stream) Plan {
	b.Helper()
	p := b.diff(want)
	if err := Weigh(b.ctx, b.js, p); err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bus) publish(subject string, n int) {
	b.Helper()
	for range n {
		if _, err := b.js.Publish(b.ctx, subject, []byte("0123456789")); err != nil {
			b.Fatal(err)
		}
	}
}

// eventually waits for a condition, without a fixed sleep.
func (b *bus) eventually(what string, ok func() bool) {
	b.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("never: " + what)
		}
	}
}

func text(p Plan) string {
	var s strings.Builder
	_ = p.WriteText(&s)
	return s.String()
}

func (p Plan) field(name string) *Field {
	for _, c := range p.Changes {
		for i := range c.Fields {
			if c.Fields[i].Name == name {
				return &c.Fields[i]
			}
		}
	}
	return nil
}

var distant = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)

func inFolder(dir string) func(*natsserver.Options) {
	return func(o *natsserver.Options) { o.StoreDir = dir }
}
