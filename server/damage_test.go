package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go/jetstream"
)

const oneStream = `
[bus]
default_streams = false
[[streams]]
name = "PAY"
subjects = ["pay.*"]
allow_msg_ttl = true
[[streams.consumers]]
name = "engine"
ack_wait = "1h"
`

// damageStore is a store with 40 payments, of which the consumer has acknowledged 10, as a clean stop and as kill -9 left it.
func damageStore(t *testing.T) (stopped, killed string, want map[uint64]string) {
	t.Helper()
	stopped, killed = filepath.Join(t.TempDir(), "store"), filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, stopped, toml(oneStream)))
	js := js(t, s)
	want = map[uint64]string{}
	for i := range 40 {
		body := fmt.Sprintf(`{"payment":%d,"to":"somebody"}`, i)
		ack, err := js.Publish(context.Background(), "pay.booked", []byte(body), jetstream.WithMsgTTL(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		want[ack.Sequence] = body
	}
	c, err := js.Consumer(context.Background(), "PAY", "engine")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(20)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range got.Messages() {
		if n++; n <= 10 {
			if err := m.DoubleAck(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "the ledger knows it all, and a copy of the store is at rest", func() bool {
		os.RemoveAll(killed)
		if err := os.CopyFS(killed, os.DirFS(stopped)); err != nil {
			return false
		}
		book, page, _, err := ledger.Open(killed)
		if err != nil {
			return false
		}
		keep, err := book.Keepsakes()
		st, _ := page.Stream("PAY")
		state := "jetstream/$G/streams/PAY/obs/engine/o.dat"
		now, _ := os.ReadFile(filepath.Join(killed, state))
		return err == nil && st.Last == 40 && len(now) > 0 && bytes.Equal(keep[state].Data, now) && position(t, now) == 10
	})
	touch(t, stopped, killed) // the copies are as old as what they are copies of
	stop(t, s)
	return stopped, killed, want
}

// touch gives the files of a copy the times of the original.
func touch(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(to, path)
		info, err := os.Stat(filepath.Join(from, rel))
		if err != nil {
			return nil // gone meanwhile
		}
		return os.Chtimes(path, info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// survivor is what a bus makes of a store.
type survivor struct {
	held     bool
	messages map[uint64]string
	floor    uint64 // acknowledged by the consumer
	findings []ledger.Finding
	text     string
}

func survive(t *testing.T, store string) (v survivor) {
	t.Helper()
	s, err := server.Start(context.Background(), at(t, store, toml(oneStream)), logTo(t))
	if errors.Is(err, server.ErrLoss) {
		return survivor{held: true, text: err.Error()}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Abandon(); err != nil {
			t.Error(err)
		}
	}()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	st, err := over(t, nc).Stream(context.Background(), "PAY")
	if err != nil {
		t.Fatal(err)
	}
	v.messages = map[uint64]string{}
	for seq := st.CachedInfo().State.FirstSeq; seq <= st.CachedInfo().State.LastSeq; seq++ {
		if m, err := st.GetMsg(context.Background(), seq); err == nil && m.Subject == "pay.booked" {
			v.messages[seq] = string(m.Data)
		}
	}
	c, err := st.Consumer(context.Background(), "engine")
	if err != nil {
		t.Fatal(err)
	}
	v.floor = c.CachedInfo().AckFloor.Stream
	v.findings = s.State().Findings
	for _, f := range v.findings {
		v.text += f.String() + "\n"
	}
	return v
}

// Every file of a store × every damage × after a clean stop and after kill -9: the bus comes up with every message, and
// with its consumer where it was or before that, and says what was damaged; or it lets nobody in, and says so. What was
// damaged is in the quarantine.
func TestWhatSurvivesDamage(t *testing.T) {
	t.Parallel()
	stopped, killed, want := damageStore(t)
	for state, store := range map[string]string{"stopped": stopped, "killed": killed} {
		v := survive(t, copyStore(t, store))
		if len(v.findings) > 0 || v.held || v.floor != 10 || !maps.Equal(v.messages, want) {
			t.Fatalf("%s, not damaged: %+v", state, v)
		}
		root := filepath.Join(store, "jetstream", "$G", "streams", "PAY")
		for _, file := range storeFiles(t, root) {
			whole, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range wounds(len(whole)) {
				t.Run(fmt.Sprintf("%s/%s/%s", state, strings.ReplaceAll(file, "/", "_"), d.name), func(t *testing.T) {
					t.Parallel()
					copied := copyStore(t, store)
					path := filepath.Join(copied, "jetstream", "$G", "streams", "PAY", file)
					bad := d.do(slices.Clone(whole))
					before, err := os.Stat(path)
					if err != nil {
						t.Fatal(err)
					}
					if bad == nil {
						err = os.Remove(path)
					} else if err = os.WriteFile(path, bad, 0o600); err == nil {
						err = os.Chtimes(path, before.ModTime(), before.ModTime()) // the disk tells nobody
					}
					if err != nil {
						t.Fatal(err)
					}
					v := survive(t, copied)
					t.Logf("held %v, %d of %d messages, acknowledged %d\n%s", v.held, len(v.messages), len(want), v.floor, v.text)
					rebuilt := file == "msgs/index.db" && state == "killed" // written now and then: a crash leaves any
					inside := file == "msgs/1.blk" && state == "stopped" && len(bad) == len(whole)
					switch {
					case v.held:
					case inside: // a clean start reads no messages: TestScrub…
					case !maps.Equal(v.messages, want):
						t.Error("messages are not all there")
					case len(v.findings) == 0 && !rebuilt:
						t.Error("nobody was told")
					}
					if !v.held && v.floor > 10 {
						t.Error("the consumer skips messages")
					}
					if len(bad) > 0 && !rebuilt && !inside && !quarantined(t, copied, bad) {
						t.Error("there is no copy of what was damaged")
					}
				})
			}
		}
	}
}

func copyStore(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	touch(t, from, to)
	return to
}

func storeFiles(t *testing.T, root string) (all []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type wound struct {
	name string
	do   func([]byte) []byte
}

func wounds(size int) []wound {
	all := []wound{
		{"deleted", func([]byte) []byte { return nil }},
		{"emptied", func(b []byte) []byte { return b[:0] }},
		{"cut", func(b []byte) []byte { return b[:len(b)*2/3] }},
	}
	for _, at := range []int{3, size / 2, size - 1} {
		all = append(all, wound{fmt.Sprintf("flip%d", at*100/size), func(b []byte) []byte { b[at] ^= 4; return b }})
	}
	return all
}

func quarantined(t *testing.T, store string, contents []byte) (found bool) {
	t.Helper()
	want := sha256.Sum256(contents)
	err := filepath.WalkDir(filepath.Join(store, integrity.Folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || sha256.Sum256(b) == want
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

// position is what a consumer's state says is acknowledged.
func position(t *testing.T, state []byte) uint64 {
	t.Helper()
	s, err := blocks.DecodeConsumerState(state)
	if err != nil {
		t.Fatal(err)
	}
	return s.AckFloor.Stream
}

// Of an encrypted store the messages are nats-server's own affair. What they cannot be read without comes back: keys,
// descriptions, states.
func TestEncryptedStoreComesBack(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("correct horse battery staple"), 0o600); err != nil {
		t.Fatal(err)
	}
	sealed := toml(oneStream + fmt.Sprintf("[nats.jetstream]\nkey = \"file:%s\"\n", key))
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir, sealed))
	publish(t, js(t, s), "pay.booked", 20)
	c, err := js(t, s).Consumer(context.Background(), "PAY", "engine")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(7)
	if err != nil {
		t.Fatal(err)
	}
	for m := range got.Messages() {
		if err := m.DoubleAck(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, s)
	root := filepath.Join("jetstream", "$G", "streams", "PAY")
	for _, file := range []string{"meta.inf", "meta.sum", "meta.key", "msgs/1.key", "obs/engine/meta.inf", "obs/engine/meta.sum", "obs/engine/meta.key", "obs/engine/o.dat"} {
		for _, d := range wounds(80)[:3] {
			t.Run(strings.ReplaceAll(file, "/", "_")+"/"+d.name, func(t *testing.T) {
				t.Parallel()
				copied := copyStore(t, dir)
				path := filepath.Join(copied, root, file)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if b = d.do(b); b == nil {
					err = os.Remove(path)
				} else {
					err = os.WriteFile(path, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				s := start(t, at(t, copied, sealed))
				c, err := js(t, s).Consumer(context.Background(), "PAY", "engine")
				if err != nil {
					t.Fatal(err)
				}
				if n := messages(t, js(t, s), "PAY"); n != 20 || c.CachedInfo().AckFloor.Stream != 7 || len(s.State().Findings) == 0 {
					t.Errorf("%d messages, %+v, %v", n, c.CachedInfo().AckFloor, s.State().Findings)
				}
			})
		}
	}
}
