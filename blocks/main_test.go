package blocks_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// nats-server 2.15.2, shut down soon after a batch, forgets the goroutine that flushed what it staged.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop"))
}

// The format is read in the source of one version: a newer one wants to be read again.
func TestEngineIsTheOneInGoMod(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`nats-server/v2 v(\S+)`).FindSubmatch(mod)
	if m == nil || string(m[1]) != blocks.Engine || natsserver.VERSION != blocks.Engine {
		t.Errorf("go.mod has %s, this package was checked against %s: read filestore.go again", m, blocks.Engine)
	}
}

// engine is a real nats-server with its store in dir.
type engine struct {
	*natsserver.Server
	t   testing.TB
	nc  *nats.Conn
	js  jetstream.JetStream
	dir string
}

type option func(*natsserver.Options)

func always(o *natsserver.Options) { o.SyncAlways = true }
func encrypted(o *natsserver.Options) {
	o.JetStreamKey, o.JetStreamCipher = "correct horse battery staple", natsserver.AES
}

func open(t testing.TB, dir string, more ...option) *engine {
	t.Helper()
	o := &natsserver.Options{ServerName: "blocks", JetStream: true, StoreDir: dir, Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, DisableJetStreamBanner: true}
	for _, f := range more {
		f(o)
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{s, t, nc, js, dir}
	t.Cleanup(e.stop)
	return e
}

// stop is a clean one; more than once is fine.
func (e *engine) stop() {
	e.nc.Close()
	e.Shutdown()
	e.WaitForShutdown()
}

// killed is a copy of the store as kill -9 would leave it: nothing may be going on.
func (e *engine) killed() string {
	e.t.Helper()
	dir := e.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(e.dir)); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

func folder(store, stream string) string {
	return filepath.Join(store, "jetstream", "$G", "streams", stream)
}

func (e *engine) stream(c jetstream.StreamConfig) jetstream.Stream {
	e.t.Helper()
	s, err := e.js.CreateStream(e.ctx(), c)
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *engine) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	e.t.Cleanup(cancel)
	return ctx
}

func reader(t testing.TB) blocks.Reader {
	t.Helper()
	r, err := blocks.For(natsserver.VERSION)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func scan(t testing.TB, dir string, o blocks.Options) *blocks.Report {
	t.Helper()
	r, err := reader(t).Scan(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// settle waits for a condition.
func settle(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never")
		}
	}
}

// Another nats-server may write other files: nobody reads them by mistake.
func TestAnotherEngine(t *testing.T) {
	t.Parallel()
	if _, err := blocks.For("2.99.0"); !errors.Is(err, blocks.ErrEngine) {
		t.Error(err)
	}
}

// An encrypted store says that it is, and nothing of it is called damaged for that.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir(), encrypted)
	a := &actor{engine: e, config: jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}}, rand: rand.New(rand.NewPCG(7, 7))}
	a.s = e.stream(a.config)
	a.publish(30, 500)
	a.consume(5)
	e.stop()
	r := scan(t, folder(e.dir, "S"), blocks.Options{Clean: true})
	if !r.Encrypted || len(r.Blocks) != 1 || !r.Blocks[0].Encrypted {
		t.Errorf("%+v", r)
	}
	quiet(t, r)
	write(t, filepath.Join(folder(e.dir, "S"), "msgs", "1.key"), nil)
	if r := scan(t, folder(e.dir, "S"), blocks.Options{}); len(r.Damage) == 0 {
		t.Error("a block without its key")
	}
}

// What stands in the folder beside the stream's own files is told apart.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir())
	e.stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}})
	e.stop()
	dir := folder(e.dir, "S")
	for _, name := range []string{"meta.inf.tmp", "msgs/1.new", "msgs/notes.txt", "obs/C/o.dat.tmp", "__msgs__/1.blk", "lost+found"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte("x"))
	}
	r := scan(t, dir, blocks.Options{Clean: true})
	if got, want := fmt.Sprint(r.Leftovers, r.Unknown, r.Damage), "[__msgs__ meta.inf.tmp msgs/1.new obs/C/o.dat.tmp obs/C] [lost+found msgs/notes.txt] []"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A purge that a crash interrupted is nothing that nats-server does not complete, wherever it was interrupted.
func TestInterruptedPurge(t *testing.T) {
	t.Parallel()
	e := open(t, t.TempDir())
	a := &actor{engine: e, config: jetstream.StreamConfig{Name: "S", Subjects: []string{"S.>"}}, rand: rand.New(rand.NewPCG(8, 8))}
	a.s = e.stream(a.config)
	a.publish(30, 500)
	before := folder(e.killed(), "S")
	a.purge()
	settle(t, func() bool { _, err := os.Stat(folder(e.dir, "S") + "/__msgs__"); return err != nil })
	after := folder(e.killed(), "S")
	for _, state := range []struct{ msgs, newMsgs, oldMsgs string }{
		{before + "/msgs", after + "/msgs", ""}, {"", after + "/msgs", before + "/msgs"}, {after + "/msgs", "", before + "/msgs"},
	} {
		dir := filepath.Join(t.TempDir(), "S")
		if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "msgs")); err != nil {
			t.Fatal(err)
		}
		for to, from := range map[string]string{"msgs": state.msgs, "__new_msgs__": state.newMsgs, "__msgs__": state.oldMsgs} {
			if from != "" {
				if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r := scan(t, dir, blocks.Options{}); len(r.Damage)+len(r.Unknown) > 0 {
			t.Errorf("%+v: %v %v", state, r.Damage, r.Unknown)
		}
	}
}
