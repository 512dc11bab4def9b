//go:build linux

package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// volumes are the file systems that these tests fill, each of its own.
var volumes = map[string]func(t testing.TB, megabytes int) (dir string){
	"tmpfs": func(t testing.TB, mb int) string {
		return mounted(t, "tmpfs", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mb))
	},
	"ext4": func(t testing.TB, mb int) string {
		image := filepath.Join(t.TempDir(), "image")
		if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, int64(mb)<<20)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput(); err != nil {
			t.Skipf("NOT RUN: mkfs.ext4: %v %s", err, out)
		}
		return mounted(t, image, "-t", "ext4", "-o", "loop")
	},
}

// mounted mounts something until the end of the test.
func mounted(t testing.TB, what string, args ...string) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root can mount a volume to fill; CI does")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", append(args, what, dir)...).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: mount: %v %s", err, out)
	}
	t.Cleanup(func() {
		// Lazily: it is busy while a test beside this one starts a program, which between fork and exec has our files as well.
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// onVolumes runs a test on each of them.
func onVolumes(t *testing.T, megabytes int, test func(t *testing.T, volume string)) {
	t.Parallel()
	for kind, mount := range volumes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, mount(t, megabytes))
		})
	}
}

// hog is the other program: it takes everything that is left of the volume, to the last byte.
func hog(t testing.TB, volume string) (file string) {
	t.Helper()
	file = filepath.Join(volume, "other-program")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at int64
	for size := int64(64 << 20); size > 0; {
		if err := unix.Fallocate(int(f.Fd()), 0, at, size); err != nil {
			size /= 2
			continue
		}
		at += size
	}
	if free, err := server.FreeSpace(volume); err != nil || free > 0 {
		t.Logf("%d bytes are left, %v", free, err)
	}
	return file
}

// publisher publishes numbered messages that carry their own hash, one after the other, and remembers what was
// acknowledged.
type publisher struct {
	subject  string
	size     int
	acked    []uint64 // numbers, in the order of the stream
	sent     uint64
	patience time.Duration // for an answer
	refusals int
	timeouts int
	others   []error // such as of a connection that was lost
}

func (p *publisher) run(js jetstream.JetStream, quit <-chan struct{}, took func(error)) {
	for {
		select {
		case <-quit:
			return
		default:
		}
		p.sent++
		ctx, cancel := context.WithTimeout(context.Background(), p.patience)
		_, err := js.Publish(ctx, p.subject, payload(p.sent, p.size), jetstream.WithRetryAttempts(0))
		cancel()
		switch {
		case err == nil:
			p.acked = append(p.acked, p.sent)
		case refused(err):
			p.refusals++
		case errors.Is(err, context.DeadlineExceeded):
			p.timeouts++
		default:
			p.others = append(p.others, err)
		}
		took(err)
	}
}

func payload(n uint64, size int) []byte {
	b := make([]byte, max(size, 40))
	binary.BigEndian.PutUint64(b, n)
	for i := 40; i < len(b); i++ {
		b[i] = byte(n) + byte(i)
	}
	sum := sha256.Sum256(append(b[:8:8], b[40:]...))
	copy(b[8:40], sum[:])
	return b
}

// check reads the stream: everything acknowledged is there, once and in order, and every message is whole.
func (p *publisher) check(t *testing.T, js jetstream.JetStream, stream string) {
	t.Helper()
	ctx := context.Background()
	st, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	next, state := 0, st.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != p.subject {
			continue
		}
		number := binary.BigEndian.Uint64(m.Data)
		if string(m.Data) != string(payload(number, p.size)) {
			t.Errorf("%s: message %d is not what was published", stream, number)
		}
		if next < len(p.acked) && number == p.acked[next] {
			next++
		}
	}
	if next != len(p.acked) {
		t.Errorf("%s: of %d acknowledged messages %d are there and in order; the next is %d", stream, len(p.acked), next, p.acked[next])
	}
}

// Our own publishers, as fast as they can: JetStream's error comes before the volume is full, and nothing else.
func TestOwnPublishersFillTheVolume(t *testing.T) {
	onVolumes(t, 80, func(t *testing.T, volume string) {
		s := start(t, at(t, filepath.Join(volume, "store"), config.Set("test", "nats.jetstream.sync_interval", "2m"))) // faster
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		own := js(t, s)
		publishers := map[string]*publisher{
			"AUDIT": {subject: "events.audit.a", size: 900}, "RISK": {subject: "events.risk.a", size: 60_000}, "CLEARING": {subject: "events.clearing.a", size: 1 << 20},
		} // nearly all is in the two that can be purged
		quit := make(chan struct{})
		var refusals atomic.Int64
		var all sync.WaitGroup
		for stream, p := range publishers {
			p.patience = 30 * time.Second
			js := own // in process, and over TCP
			if stream == "RISK" {
				js = over(t, nc)
			}
			all.Go(func() {
				p.run(js, quit, func(err error) {
					if refused(err) && p.refusals == 1 {
						refusals.Add(1)
					}
				})
			})
		}
		until(t, "everybody is refused", func() bool { return int(refusals.Load()) == len(publishers) })
		close(quit)
		all.Wait()
		free, err := server.FreeSpace(volume)
		st := s.State().Space
		if err != nil || free < st.Keep/2 || st.Refusing == "" || st.WriteErrors > 0 || st.Restarts > 0 {
			t.Errorf("%d bytes are left, %v; %+v", free, err, st)
		}
		for stream, p := range publishers {
			if len(p.others)+p.timeouts > 0 {
				t.Errorf("%s: %d timeouts, %v", stream, p.timeouts, p.others)
			}
			p.check(t, own, stream)
			t.Logf("%s: %d acknowledged, %d refused; %d of %d kept bytes left", stream, len(p.acked), p.refusals, free, st.Keep)
		}

		for _, name := range []string{"CLEARING", "RISK"} {
			stream, err := own.Stream(context.Background(), name)
			if err == nil {
				err = stream.Purge(context.Background())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		freed := time.Now()
		until(t, "publishing goes on", func() bool { _, err := own.Publish(context.Background(), "events.risk.a", nil); return err == nil })
		t.Logf("publishing went on %s after the purge", time.Since(freed))
	})
}

// Another program takes the last byte while publishers and a consumer are at work. With nothing kept free nats-server
// meets the full disk itself, and is started anew when there is room.
func TestAnotherProgramFillsTheVolume(t *testing.T) {
	for name, keep := range map[string]string{"kept": "auto", "nothing kept": "0"} {
		t.Run(name, func(t *testing.T) {
			onVolumes(t, 80, func(t *testing.T, volume string) {
				s := start(t, at(t, filepath.Join(volume, "store"), config.Set("test", "bus.min_free", keep)))
				nc, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), quietly)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				js := over(t, nc)
				ctx := context.Background()
				publish(t, js, "events.notifications.x", 500)

				publishers := map[string]*publisher{
					"RISK": {subject: "events.risk.a", size: 900}, "CLEARING": {subject: "events.clearing.a", size: 9000},
				}
				quit := make(chan struct{})
				var acked, refusals atomic.Int64
				var all sync.WaitGroup
				for _, p := range publishers {
					if p.patience = 5 * time.Second; keep == "0" {
						p.patience = time.Second // here it is certain that some are not answered
					}
					all.Go(func() {
						p.run(js, quit, func(err error) {
							if err == nil {
								acked.Add(1)
							}
							if refused(err) {
								refusals.Add(1)
							}
						})
					})
				}
				until(t, "publishing is under way", func() bool { return acked.Load() > 200 })
				file := hog(t, volume)
				until(t, "publishes are refused", func() bool { return refusals.Load() > 50 })
				if s.State().Space.Refusing == "" {
					t.Error("nothing is said")
				}
				con, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
				if err != nil {
					t.Fatal(err)
				}
				for read, empty := 0, 0; read < 500; {
					got, err := con.Fetch(100, jetstream.FetchMaxWait(2*time.Second))
					if err != nil {
						t.Fatal(err)
					}
					n := 0
					for m := range got.Messages() {
						if err := m.DoubleAck(ctx); err != nil {
							t.Errorf("ack: %v", err)
						}
						n++
					}
					if empty++; n > 0 {
						empty = 0
					}
					if read += n; empty == 5 {
						t.Fatalf("after %d messages: %v", read, got.Error())
					}
				}
				before := acked.Load()
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				freed := time.Now()
				until(t, "publishing goes on", func() bool { return acked.Load() > before })
				took := time.Since(freed)
				until(t, "everywhere", func() bool { return s.State().Phase == server.Serving && s.State().Space.Refusing == "" })
				enough := acked.Load() + 200
				until(t, "and stays", func() bool { return acked.Load() > enough })
				close(quit)
				all.Wait()
				st := s.State().Space
				if keep == "0" && st.Restarts == 0 || st.Restarts > 1 {
					t.Errorf("%+v", st)
				}
				for stream, p := range publishers {
					// Only the message that met the full disk has no answer, and one that was under way when nats-server
					// stopped; on a busy machine one that takes its time.
					if p.timeouts > 10 || st.WriteErrors == 0 && p.timeouts > 0 {
						t.Errorf("%s: %d timeouts", stream, p.timeouts)
					}
					p.check(t, js, stream)
					t.Logf("%s: %d acknowledged, %d refused, %d timeouts, %d others", stream, len(p.acked), p.refusals, p.timeouts, len(p.others))
				}
				t.Logf("publishing went on %s after there was room; %d starts anew, %d write errors", took, st.Restarts, st.WriteErrors)
			})
		})
	}
}

// A bus on a volume without a byte left starts in its reserve, and can be read from and purged. Without one it says so,
// and touches nothing.
func TestStartOnAFullVolume(t *testing.T) {
	onVolumes(t, 64, func(t *testing.T, volume string) {
		cfg := at(t, filepath.Join(volume, "store"))
		reserve := filepath.Join(volume, "store", "deltran-bus.reserve")
		s := start(t, cfg)
		publish(t, js(t, s), "events.risk.x", 1000)
		until(t, "there is a reserve", func() bool { info, err := os.Stat(reserve); return err == nil && info.Size() > 0 })
		stop(t, s)
		file := hog(t, volume)

		s = start(t, cfg)
		own := js(t, s)
		if n := messages(t, own, "RISK"); n != 1000 {
			t.Errorf("%d messages", n)
		}
		if _, err := own.Publish(context.Background(), "events.risk.x", nil); !refused(err) || s.State().Space.Refusing == "" {
			t.Errorf("publish: %v; %+v", err, s.State().Space)
		}
		risk, err := own.Stream(context.Background(), "RISK")
		if err != nil {
			t.Fatal(err)
		}
		if err := risk.Purge(context.Background(), jetstream.WithPurgeKeep(10)); err != nil {
			t.Errorf("purge: %v", err)
		}
		stop(t, s)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}

		file = hog(t, volume) // of what the reserve took as well
		_, err = server.Start(context.Background(), cfg, logTo(t))
		if !errors.Is(err, server.ErrNoRoom) {
			t.Fatalf("without a reserve: %v", err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		s = start(t, cfg)
		if n := messages(t, js(t, s), "RISK"); n != 10 {
			t.Errorf("%d messages", n)
		}
		publish(t, js(t, s), "events.risk.x", 1)
		until(t, "the reserve is there again", func() bool { info, err := os.Stat(reserve); return err == nil && info.Size() > 0 })
	})
}
