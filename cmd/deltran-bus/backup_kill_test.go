//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/backup"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// backupKills is how often each command is killed, at moments spread over the time that it takes.
const backupKills = 6

// stockBus is a stock nats-server for the real program to talk to.
type stockBus struct {
	t  *testing.T
	js jetstream.JetStream
	nc *nats.Conn
	at string

	srv *natsserver.Server
}

func newStockBus(t *testing.T) *stockBus {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 1 << 32})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	b := &stockBus{t: t, at: s.ClientURL(), srv: s}
	if b.nc, err = nats.Connect(b.at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nc.Close)
	// A snapshot whose reader was killed goes on for some seconds, also when its server has ended.
	var underWay atomic.Int64
	ended := make(chan struct{}, 1)
	for subject, step := range map[string]int64{natsserver.JSAdvisoryStreamSnapshotCreatePre: 1, natsserver.JSAdvisoryStreamSnapshotCompletePre: -1} {
		if _, err := b.nc.Subscribe(subject+".>", func(*nats.Msg) {
			underWay.Add(step)
			select {
			case ended <- struct{}{}:
			default:
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.nc.Flush(); err != nil {
			t.Error(err)
		}
		for underWay.Load() != 0 {
			<-ended
		}
	})
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	return b
}

var killStreams = []string{"A", "B", "C"}

// fill makes the streams and what is in them, all of it with a word in it.
func (b *stockBus) fill(word string, messages, size int) {
	b.t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(messages)))
	for _, s := range killStreams {
		if _, err := b.js.CreateStream(b.t.Context(), jetstream.StreamConfig{Name: s, Subjects: []string{s + ".>"}}); err != nil {
			b.t.Fatal(err)
		}
		payload := make([]byte, size)
		for range messages {
			for i := 0; i < size; i += 8 {
				payload[i] = byte(r.Uint32())
			}
			if _, err := b.js.PublishAsync(s+"."+word, payload); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	<-b.js.PublishAsyncComplete()
}

// program runs deltran-bus, and backupKills it after a while, unless that is 0; it returns how long it took.
func (b *stockBus) program(kill time.Duration, args ...string) (time.Duration, string, error) {
	b.t.Helper()
	path, err := exec.LookPath("deltran-bus")
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "NATS_URL="+b.at, "TMPDIR="+b.t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if kill > 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	return time.Since(begun), out.String(), err
}

// holds says which streams there are and how many messages with which word each has, such as "A new 300, B new 300".
func (b *stockBus) holds() string {
	b.t.Helper()
	var out []string
	for _, name := range killStreams {
		s, err := b.js.Stream(b.t.Context(), name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			b.t.Fatal(err)
		}
		info, err := s.Info(b.t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			b.t.Fatal(err)
		}
		for subject, n := range info.State.Subjects {
			out = append(out, fmt.Sprintf("%s %d", strings.Replace(subject, ".", " ", 1), n))
		}
	}
	return strings.Join(out, ", ")
}

// A backup that is killed leaves no file of that name, or a whole one; and the next of that name finds nothing in its way.
func TestKillCreate(t *testing.T) {
	t.Parallel()
	b := newStockBus(t)
	b.fill("new", 200, 20000)
	dir := t.TempDir()
	whole, out, err := b.program(0, "backup", "create", filepath.Join(dir, "whole.tar.gz"))
	if err != nil {
		t.Fatal(err, out)
	}
	for i := range backupKills {
		file := filepath.Join(dir, fmt.Sprintf("%d.tar.gz", i))
		_, _, err := b.program(whole*time.Duration(i+1)/(backupKills+1), "backup", "create", file)
		_, serr := os.Stat(file)
		if err != nil && serr == nil {
			t.Logf("killed after the name was given")
		}
		if errors.Is(serr, fs.ErrNotExist) {
			if _, out, err := b.program(0, "backup", "create", file); err != nil {
				t.Error(err, out)
			}
		}
		if m, err := backup.Verify(t.Context(), file, backup.VerifyOptions{}); err != nil || m.Messages() != 600 {
			t.Errorf("%d: %v", i, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// A restore that is killed leaves nothing, or everything. The next one restores it.
func TestKillRestore(t *testing.T) {
	t.Parallel()
	from := newStockBus(t)
	from.fill("new", 200, 20000)
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	if _, out, err := from.program(0, "backup", "create", file); err != nil {
		t.Fatal(err, out)
	}
	everything := from.holds()
	b := newStockBus(t)
	whole, out, err := b.program(0, "backup", "restore", file)
	if err != nil {
		t.Fatal(err, out)
	}
	for i := range backupKills {
		for _, s := range killStreams {
			if err := b.js.DeleteStream(t.Context(), s); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Fatal(err)
			}
		}
		_, _, killed := b.program(whole*time.Duration(i+1)/(backupKills+1), "backup", "restore", file)
		b.settled()
		if got := b.holds(); got != "" && got != everything || killed == nil && got == "" {
			t.Errorf("killed at %d of %d: %q", i+1, backupKills+1, got)
		}
		if got := b.holds(); got == "" {
			if _, out, err := b.program(0, "backup", "restore", file); err != nil || b.holds() != everything {
				t.Errorf("%v: %s: %s", err, out, b.holds())
			}
		}
	}
}

// settled waits until nats-server is done with whoever was killed: it has read all that was sent, and what it restores
// has been given its end, or waits for it.
func (b *stockBus) settled() {
	b.t.Helper()
	until := time.Now().Add(patience)
	for b.srv.NumClients() > 1 || restoring() {
		if time.Now().After(until) {
			b.t.Fatal("nats-server is not done with who was killed")
		}
		runtime.Gosched()
	}
}

// restoring reports whether a nats-server in this process is making a stream, and not only waiting for more of it.
func restoring() bool {
	stacks := make([]byte, 16<<20)
	for one := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(one, ".processStreamRestore.func") && strings.Contains(one, ".RestoreStream") && !strings.Contains(one, "io.(*pipe).read") {
			return true
		}
	}
	return false
}

// A restore that replaces and is killed leaves the old streams or the new ones, or, in the moment between the two, the old
// ones in an archive that is whole. The next one restores the new ones.
func TestKillReplace(t *testing.T) {
	t.Parallel()
	from := newStockBus(t)
	from.fill("new", 300, 20000)
	dir := t.TempDir()
	file := filepath.Join(dir, "b.tar.gz")
	if _, out, err := from.program(0, "backup", "create", file); err != nil {
		t.Fatal(err, out)
	}
	b := newStockBus(t)
	b.fill("old", 100, 20000)
	old, everything := b.holds(), from.holds()
	oldFile := filepath.Join(dir, "old.tar.gz")
	if _, out, err := b.program(0, "backup", "create", oldFile); err != nil {
		t.Fatal(err, out)
	}
	whole, out, err := b.program(0, "backup", "restore", "--replace", file)
	if err != nil {
		t.Fatal(err, out)
	}
	for i := range backupKills {
		if _, out, err := b.program(0, "backup", "restore", "--replace", oldFile); err != nil || b.holds() != old {
			t.Fatalf("%v: %s: %s", err, out, b.holds())
		}
		removeAll(t, filepath.Join(dir, "*.replaced-*"))
		_, _, _ = b.program(whole*time.Duration(i+1)/(backupKills+1), "backup", "restore", "--replace", file)
		b.settled()
		got := b.holds()
		t.Logf("killed at %d of %d: %q", i+1, backupKills+1, got)
		if got != old && got != everything {
			kept, _ := filepath.Glob(filepath.Join(dir, "*.replaced-*.tar.gz"))
			if len(kept) == 0 {
				t.Fatalf("the old ones are not there (%q), and no archive of them", got)
			}
			if m, err := backup.Verify(t.Context(), kept[0], backup.VerifyOptions{}); err != nil || m.Messages() != 300 {
				t.Errorf("%+v, %v", m, err)
			}
			for _, s := range killStreams {
				if strings.Contains(got, s+" new") && !strings.Contains(got, s+" new 300") || strings.Contains(got, s+" old") && !strings.Contains(got, s+" old 100") {
					t.Errorf("half there: %q", got)
				}
			}
		}
		if got != everything {
			if _, out, err := b.program(0, "backup", "restore", "--replace", file); err != nil || b.holds() != everything {
				t.Errorf("%v: %s: %s", err, out, b.holds())
			}
		}
		for _, s := range killStreams { // whatever was done to them, they take publishes
			if _, err := b.js.Publish(t.Context(), s+".after", nil); err != nil {
				t.Error(err)
			}
		}
	}
}

func removeAll(t *testing.T, pattern string) {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if err := os.Remove(f); err != nil {
			t.Error(err)
		}
	}
}
