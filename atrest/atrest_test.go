package atrest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// with runs a nats-server of its own on the store.
func with(t *testing.T, store string, k Keys, f func(jetstream.JetStream)) {
	t.Helper()
	c := natsserver.ChaCha
	if k.Cipher == AES {
		c = natsserver.AES
	}
	s, err := natsserver.NewServer(&natsserver.Options{
		DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: store, JetStreamKey: k.Key, JetStreamCipher: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	f(js)
}

// fill makes streams of every kind of content: several blocks, none, emptied ones, consumers with acknowledgements, an
// uncommitted batch.
func fill(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	ctx := t.Context()
	for _, name := range []string{"FULL", "EMPTY", "PURGED", "GAPS"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, AllowAtomicPublish: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			if name == "EMPTY" {
				break
			}
			if _, err := js.Publish(ctx, name+".x", []byte(strings.Repeat(fmt.Sprint(i%10), 150_000))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, seqs := range map[string][]uint64{"PURGED": nil, "GAPS": {3, 7, 8}} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if seqs == nil {
			err = s.Purge(ctx)
		}
		for _, seq := range seqs {
			err = errors.Join(err, s.DeleteMsg(ctx, seq))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := js.Consumer(ctx, "FULL", "reader")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(5)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	m := nats.NewMsg("FULL.batch")
	m.Header.Set("Nats-Batch-Id", "open")
	m.Header.Set("Nats-Batch-Sequence", "1")
	if _, err := js.Conn().RequestMsg(m, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

// content is all that the streams hold and the consumers know.
func content(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	ctx := t.Context()
	var out strings.Builder
	for _, name := range []string{"FULL", "EMPTY", "PURGED", "GAPS"} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			fmt.Fprintf(&out, "%s: %v\n", name, err)
			continue
		}
		st := s.CachedInfo().State
		fmt.Fprintf(&out, "%s: %d-%d, %d messages", name, st.FirstSeq, st.LastSeq, st.Msgs)
		for seq := st.FirstSeq; seq <= st.LastSeq && st.Msgs > 0; seq++ {
			m, err := s.GetMsg(ctx, seq)
			if err != nil {
				out.WriteString(" -")
			} else {
				fmt.Fprintf(&out, " %c%d", m.Data[0], len(m.Data))
			}
		}
		if c, err := s.Consumer(ctx, "reader"); err != nil {
			fmt.Fprintf(&out, "; %v\n", err)
		} else {
			i := c.CachedInfo()
			fmt.Fprintf(&out, "; acknowledged to %d, %d pending\n", i.AckFloor.Stream, i.NumPending)
		}
	}
	return out.String()
}

// bytes is every file of a store.
func bytes(t *testing.T, store string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// rewrap opens a store, and changes its key where it has to be.
func rewrap(store string, k Keys) (int, error) {
	s, err := Open(store, k)
	if err != nil {
		return 0, err
	}
	return s.Rewrap()
}

// A store whose key was changed is, to nats-server, a store that always had it: everything is there, twice over.
func TestNewKey(t *testing.T) {
	t.Parallel()
	for _, c := range []Cipher{ChaCha, AES} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			store := t.TempDir()
			first, second := Keys{Cipher: c, Key: "the first key"}, Keys{Cipher: c, Key: "the second key"}
			var want string
			with(t, store, first, func(js jetstream.JetStream) { fill(t, js); want = content(t, js) })
			both := second
			both.Old = first.Key
			if n, err := rewrap(store, both); err != nil || n < 12 {
				t.Fatalf("%d wrapped, %v", n, err)
			}
			if n, err := rewrap(store, both); err != nil || n != 0 {
				t.Errorf("once more: %d wrapped, %v", n, err)
			}
			if _, err := rewrap(store, first); !errors.Is(err, ErrKey) {
				t.Errorf("the first key: %v", err)
			}
			for range 2 {
				with(t, store, second, func(js jetstream.JetStream) {
					if got := content(t, js); got != want {
						t.Errorf("got\n%swant\n%s", got, want)
					}
				})
				if n, err := rewrap(store, second); err != nil || n != 0 {
					t.Errorf("%d wrapped, %v", n, err)
				}
			}
		})
	}
}

// Cut off anywhere, it goes on; until it is through, neither key alone opens the store.
func TestCutOff(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	first, both := Keys{Key: "the first key"}, Keys{Key: "the second key", Old: "the first key"}
	var want string
	with(t, store, first, func(js jetstream.JetStream) { fill(t, js); want = content(t, js) })
	all, _, err := find(store)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		w, err := all[i].open(both)
		if err != nil || !w.old {
			t.Fatal(err)
		}
		if err := w.write(store, both); err != nil {
			t.Fatal(err)
		}
		_, withFirst := rewrap(store, first)
		_, withSecond := rewrap(store, Keys{Key: both.Key})
		if !errors.Is(withFirst, ErrKey) || (withSecond == nil) != (i == len(all)-1) {
			t.Errorf("after %d of %d: with the first key %v, with the second %v", i+1, len(all), withFirst, withSecond)
		}
		if i == len(all)/2 {
			break
		}
	}
	if n, err := rewrap(store, both); err != nil || n != len(all)-len(all)/2-1 {
		t.Errorf("%d of %d wrapped, %v", n, len(all), err)
	}
	with(t, store, Keys{Key: both.Key}, func(js jetstream.JetStream) {
		if got := content(t, js); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// What cannot be opened is not touched.
func TestRefused(t *testing.T) {
	t.Parallel()
	sealed, plain := t.TempDir(), t.TempDir()
	with(t, sealed, Keys{Key: "the key"}, func(js jetstream.JetStream) { fill(t, js) })
	with(t, plain, Keys{}, func(js jetstream.JetStream) { fill(t, js) })
	for name, tc := range map[string]struct {
		store string
		keys  Keys
		want  error
	}{
		"no key":             {sealed, Keys{}, ErrSealed},
		"another key":        {sealed, Keys{Key: "another"}, ErrKey},
		"another old key":    {sealed, Keys{Key: "another", Old: "an older one"}, ErrKey},
		"another cipher":     {sealed, Keys{Key: "the key", Cipher: AES}, ErrCipher},
		"old key and cipher": {sealed, Keys{Key: "another", Old: "the key", Cipher: AES}, ErrCipher},
		"a plain store":      {plain, Keys{Key: "the key"}, ErrPlain},
		"a plain one":        {plain, Keys{}, nil},
		"the right key":      {sealed, Keys{Key: "the key", Old: "an older one"}, nil},
		"nothing":            {filepath.Join(plain, "nothing"), Keys{Key: "the key"}, nil},
	} {
		before := bytes(t, filepath.Dir(tc.store))
		if _, err := rewrap(tc.store, tc.keys); !errors.Is(err, tc.want) || err != nil && strings.Contains(err.Error(), "the key\"") {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		for path, b := range bytes(t, filepath.Dir(tc.store)) {
			if before[path] != b {
				t.Errorf("%s: %s was written", name, path)
			}
		}
	}
}

// Why this package exists: nats-server's own way to a new key, to another cipher, and from plain to encrypted. When one
// of these no longer loses anything, it can be left to nats-server.
func TestNATSLoses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*natsserver.Options, int){
		"a new key beside the old one": func(o *natsserver.Options, start int) {
			o.JetStreamKey = "the first key"
			if start > 0 {
				o.JetStreamKey, o.JetStreamOldKey = "the second key", "the first key"
			}
		},
		"another cipher": func(o *natsserver.Options, start int) {
			o.JetStreamKey, o.JetStreamCipher = "the key", natsserver.ChaCha
			if start > 0 {
				o.JetStreamCipher = natsserver.AES
			}
		},
		"a key for a plain store": func(o *natsserver.Options, start int) {
			if start > 0 {
				o.JetStreamKey = "the key"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, lost := t.TempDir(), false
			for start := range 3 {
				o := &natsserver.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: store}
				change(o, start)
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
				if start == 0 {
					if _, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "EMPTY"}); err != nil {
						t.Fatal(err)
					}
				}
				_, err = js.Stream(context.Background(), "EMPTY")
				lost = lost || err != nil
				nc.Close()
				s.Shutdown()
				s.WaitForShutdown()
			}
			if !lost {
				t.Error("the empty stream is still there: nats-server can do this by itself now")
			}
		})
	}
}
