package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func kept(t *testing.T, file string) []string {
	t.Helper()
	return must(filepath.Glob(filepath.Join(filepath.Dir(file), "*.replaced-*")))
}

// Whoever interrupts a restore in the moment in which the old stream goes gets it back: it was gone for good, and its archive
// with it, because the answer to the deletion was not waited for.
func TestInterruptedWhileItDeletes(t *testing.T) {
	t.Parallel()
	file := three(t).archive("A")
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
	b.publish("A.old", 0, 50)
	old := b.dump("A")
	other, err := nats.Connect("", nats.InProcessServer(b.srv))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, moment := range []string{"$JS.EVENT.ADVISORY.STREAM.UPDATED.A", "$JS.EVENT.ADVISORY.STREAM.DELETED.A"} {
		for range 10 {
			ctx, stop := context.WithCancel(t.Context())
			sub, err := other.Subscribe(moment, func(*nats.Msg) { stop() })
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Flush(); err != nil {
				t.Fatal(err)
			}
			_, err = Restore(ctx, b.nc, file, RestoreOptions{Replace: true, Temp: t.TempDir()})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", moment, err)
			}
			if d := cmp.Diff(old, b.dump("A")); d != "" {
				t.Fatalf("%s: %s", moment, d)
			}
			b.publish("A.old", 0, 1) // is a duplicate, and taken
			if list := kept(t, file); len(list) > 0 {
				t.Fatal(list)
			}
			_ = sub.Unsubscribe()
		}
	}
}

// deafened stands between a client and a server: from a request of one kind on the client hears nothing, until it sends one of
// another.
type deafened struct {
	net.Listener
	from, until string
	deaf        atomic.Bool
}

func deafen(t *testing.T, to, from, until string) *deafened {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &deafened{Listener: l, from: from, until: until}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", to)
		if err != nil {
			c.Close()
			return
		}
		wg.Go(func() { _, _ = io.Copy(ear{c, d}, s); c.Close() })
		wg.Go(func() { _, _ = io.Copy(mouth{s, d}, c); s.Close() })
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return d
}

type ear struct {
	net.Conn
	d *deafened
}

func (e ear) Write(b []byte) (int, error) {
	if e.d.deaf.Load() {
		return len(b), nil
	}
	return e.Conn.Write(b)
}

type mouth struct {
	net.Conn
	d *deafened
}

func (m mouth) Write(b []byte) (int, error) {
	switch {
	case m.d.until != "" && bytes.Contains(b, []byte(m.d.until)):
		m.d.deaf.Store(false)
	case bytes.Contains(b, []byte(m.d.from)):
		m.d.deaf.Store(true)
	}
	return m.Conn.Write(b)
}

// Nobody answers to the deletion, although it is done: what was there is never lost, and it is said where it is.
func TestNoAnswerToTheDeletion(t *testing.T) {
	t.Parallel()
	for name, until := range map[string]string{"for a while": "$JS.API.STREAM.INFO.A", "any more": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := three(t).archive("A")
			b := newBus(t, func(o *natsserver.Options) { o.DontListen, o.Host, o.Port = false, "127.0.0.1", -1 })
			b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
			b.publish("A.old", 0, 50)
			old := b.dump("A")
			way := deafen(t, b.srv.Addr().String(), "$JS.API.STREAM.DELETE.A", until)
			nc, err := nats.Connect(way.Addr().String(), nats.NoReconnect())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			told := ""
			_, err = Restore(t.Context(), nc, file, RestoreOptions{Replace: true, Temp: t.TempDir(), Wait: 500 * time.Millisecond, Kept: func(f string) { told = f }})
			list := kept(t, file)
			if err == nil || len(list) != 1 || list[0] != told || !strings.Contains(err.Error(), "what was there is in "+told+";") {
				t.Fatalf("%v: %v, told of %q", err, list, told)
			}
			if until == "" {
				if names := b.names(); len(names) > 0 {
					t.Fatal(names)
				}
				b.restore(told, RestoreOptions{})
			}
			if d := cmp.Diff(old, b.dump("A")); d != "" {
				t.Error(d)
			}
			if cfg := b.configs()["A"]; cmp.Diff(cfg.Subjects, []string{"A.>"}) != "" {
				t.Error(cfg.Subjects)
			}
		})
	}
}

// Streams that a killed restore was going to replace get their subjects back.
func TestUnpark(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>", "a"}, Metadata: map[string]string{"mine": "x"}})
	b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"B.>"}})
	before := b.configs()
	c := newClient(b.nc, 0)
	info, err := c.info(t.Context(), "A", false)
	if err != nil {
		t.Fatal(err)
	}
	parked, _ := must(parseConfig(info.Config)).parked()
	if err := c.ask(t.Context(), "STREAM.UPDATE.A", parked, nil); err != nil {
		t.Fatal(err)
	}
	if md := b.configs(); !Parked(md["A"].Metadata) || Parked(md["B"].Metadata) {
		t.Error(md)
	}
	names, err := Unpark(t.Context(), b.nc)
	if err != nil || cmp.Diff(names, []string{"A"}) != "" {
		t.Error(names, err)
	}
	if d := cmp.Diff(before, b.configs()); d != "" {
		t.Error(d)
	}
	if names, err := Unpark(t.Context(), b.nc); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
}

// A server lets no more wait for a client than max_pending: what is under way of many large streams stays below it.
func TestManyLargeStreams(t *testing.T) {
	t.Parallel()
	b := newBus(t, func(o *natsserver.Options) {
		o.DontListen, o.Host, o.Port, o.MaxPending = false, "127.0.0.1", -1, 10<<20
	})
	random := seeded(1)
	for _, name := range []string{"A", "B", "C", "D"} {
		b.stream(jetstream.StreamConfig{Name: name})
		for range 16 {
			data := make([]byte, 1<<20)
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			if _, err := b.js.Publish(t.Context(), name, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.nc.Close()
	b.dial(b.srv.ClientURL(), nats.NoReconnect())
	for range 3 {
		if m := must(VerifyDeep(t.Context(), b.archive(), VerifyOptions{Temp: t.TempDir()})); m.Messages() != 64 {
			t.Error(m.Messages())
		}
	}
}

// natscli makes a folder for a stream before it backs it up, and leaves it there when it cannot.
func TestFolderWithoutItsBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, s := range []string{"A", "B"} {
		if err := os.Mkdir(filepath.Join(dir, s), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "A", metaName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), dir, VerifyOptions{}); !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), "B: there is no backup.json in it") {
		t.Error(err)
	}
}

// Interrupted while nats-server is making the new streams of what it was sent, a restore waits for them: what came to stand later
// stood in the place of the old one, and the archive of that was removed.
func TestInterruptedWhileTheyAreMade(t *testing.T) {
	t.Parallel()
	from := newBus(t)
	for _, name := range []string{"A", "B"} {
		from.stream(jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}})
		for range 3000 {
			if _, err := from.js.PublishAsync(name+".x", make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-from.js.PublishAsyncComplete()
	file, want := from.archive(), from.dumps()
	for _, replace := range []bool{true, false} {
		for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond} {
			b := newBus(t)
			if replace {
				b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
				b.publish("A.old", 0, 50)
			}
			old := b.dumps()
			ctx, stop := context.WithCancel(t.Context())
			var once sync.Once
			_, err := Restore(ctx, b.nc, file, RestoreOptions{Replace: replace, Temp: t.TempDir(), Progress: func(p Progress) {
				if p.Doing == "handing over" && p.Done == p.Streams {
					once.Do(func() { time.AfterFunc(after, stop) })
				}
			}})
			stop()
			is := b.dumps()
			if err == nil && cmp.Diff(want, is) == "" || errors.Is(err, context.Canceled) && cmp.Diff(old, is) == "" {
				continue
			}
			t.Errorf("interrupted %v after all was sent, replacing %v: %v; %d streams", after, replace, err, len(is))
		}
	}
}

// What was published before a stream was parked, and waited to be stored, is acknowledged: it is in the archive.
func TestReplaceBesideManyOnTheirWay(t *testing.T) {
	t.Parallel()
	file := three(t).archive("A")
	b := newBus(t, func(o *natsserver.Options) { o.SyncAlways = true })
	b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"A.>"}})
	b.publish("A.first", 0, 1)
	ctx, stop := context.WithCancel(t.Context())
	js, err := jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(2000), jetstream.WithPublishAsyncTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	var publisher, waiting sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint("id", i)
			f, err := js.PublishAsync("A.old", []byte(id), jetstream.WithRetryAttempts(0))
			if err != nil {
				continue
			}
			waiting.Go(func() {
				select {
				case <-f.Ok():
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				case <-f.Err():
				}
			})
		}
	})
	until(t, "messages", func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > 100 })
	r := b.restore(file, RestoreOptions{Replace: true})
	stop()
	publisher.Wait()
	waiting.Wait()
	old := newBus(t)
	old.restore(r.Kept, RestoreOptions{})
	was, is := old.dump("A"), b.dump("A")
	lost := 0
	for id := range acked {
		if m := fmt.Sprintf("%q", id); !strings.Contains(was, m) && !strings.Contains(is, m) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d were acknowledged and are nowhere", lost, len(acked))
	}
}
