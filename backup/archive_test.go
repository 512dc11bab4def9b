package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"
)

// small is an archive of two streams, some kilobytes long.
func small(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/small.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check1(archive []byte) (*Manifest, error) {
	return (&check{ctx: background, progress: newProgress(nil, "", 0)}).run(memory(archive))
}

// memory is an archive in memory as a source.
type memory []byte

func (m memory) close() {}
func (m memory) each(do func(packed) error) (*Manifest, error) {
	return readArchive(bytes.NewReader(m), do)
}

// An archive that was written in another year is read, and says what it said.
func TestSmall(t *testing.T) {
	t.Parallel()
	if os.Getenv("WRITE_SMALL") != "" { // how it was made
		b := newBus(t)
		b.stream(jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
		b.stream(jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}})
		b.publish("a.x", 0, 5)
		if err := os.Rename(b.archive(), "testdata/small.tar.gz"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := check1(small(t))
	if err != nil {
		t.Fatal(err)
	}
	if a := m.Stream("A"); len(m.Streams) != 2 || a.Messages != 5 || a.LastSeq != 5 || m.Streams[1].Name != "B" {
		t.Errorf("%+v", m)
	}
}

// Whatever byte is changed, wherever it is cut and whatever is added: it is not whole, and restore touches nothing.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	whole := small(t)
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if _, err := check1(b); !errors.Is(err, ErrBad) {
			t.Fatalf("byte %d of %d changed: %v", i, len(whole), err)
		}
		if _, err := check1(whole[:i]); !errors.Is(err, ErrBad) {
			t.Fatalf("cut at %d of %d: %v", i, len(whole), err)
		}
	}
	for _, more := range []string{"\x00", "more", string(whole)} {
		if _, err := check1(append(slices.Clone(whole), more...)); !errors.Is(err, ErrBad) {
			t.Fatalf("with %d bytes more: %v", len(more), err)
		}
	}

	b := newBus(t)
	file := filepath.Join(t.TempDir(), "bad.tar.gz")
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), b.nc, file, RestoreOptions{Temp: t.TempDir()}); !errors.Is(err, ErrBad) {
		t.Errorf("restore: %v", err)
	}
	if _, err := VerifyDeep(t.Context(), file, VerifyOptions{Temp: t.TempDir()}); !errors.Is(err, ErrBad) {
		t.Errorf("verify: %v", err)
	}
	if names := b.names(); len(names) > 0 {
		t.Errorf("there is %v", names)
	}
}

// Everybody's tools unpack an archive, and what they unpack is verified and restored as well.
func TestUnpacked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := exec.Command("tar", "-xzf", "testdata/small.tar.gz", "-C", dir).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	m, err := Verify(t.Context(), dir, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Stream("A").Unchecked {
		t.Error("its manifest was not looked at")
	}
	b := newBus(t)
	b.restore(dir, RestoreOptions{})
	if d := b.dump("A"); !strings.HasPrefix(d, "5 messages, 1 to 5") {
		t.Error(d)
	}

	// One stream's folder by itself is what natscli makes: nothing is recorded of it.
	one := filepath.Join(dir, "streams", "A")
	if m, err := VerifyDeep(t.Context(), one, VerifyOptions{Temp: t.TempDir()}); err != nil || !m.Streams[0].Unchecked || m.Streams[0].Messages != 5 {
		t.Errorf("%+v, %v", m, err)
	}
	b.restore(one, RestoreOptions{As: "C"})
	if d := b.dump("C"); d != b.dump("A") {
		t.Error(d)
	}

	data := filepath.Join(one, dataName)
	content, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(data, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, one} {
		if _, err := Verify(t.Context(), name, VerifyOptions{}); !errors.Is(err, ErrBad) {
			t.Errorf("%s with a byte changed: %v", name, err)
		}
	}
}

// An archive comes from stdin as well.
func TestStdin(t *testing.T) {
	t.Parallel()
	m, err := Verify(t.Context(), "-", VerifyOptions{Stdin: bytes.NewReader(small(t)), Temp: t.TempDir()})
	if err != nil || len(m.Streams) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	b := newBus(t)
	b.restore("-", RestoreOptions{Stdin: bytes.NewReader(small(t)), Streams: []string{"A"}})
	if names := b.names(); !slices.Equal(names, []string{"A"}) {
		t.Error(names)
	}
}

// Whatever an archive holds, reading it ends without a panic; sealed anew, so that the reader comes to see it. What it
// accepts is what was written.
func FuzzRead(f *testing.F) {
	whole := small(f)
	body := whole[:len(whole)-sealSize]
	f.Add(body)
	f.Add(body[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := newHash()
		sum.Write(b)
		_, err := check1(append(slices.Clone(b), seal(sum, 0)...))
		if err != nil && !errors.Is(err, ErrBad) {
			t.Errorf("%v is not an ErrBad", err)
		}
	})
}

// No change of some bytes goes unnoticed.
func FuzzChange(f *testing.F) {
	whole := small(f)
	f.Add(uint(10), []byte{1}, uint(0))
	f.Add(uint(len(whole)-1), []byte{0xff, 0xff}, uint(1))
	f.Fuzz(func(t *testing.T, at uint, change []byte, cut uint) {
		b := slices.Clone(whole)
		for i, c := range change {
			b[(at+uint(i))%uint(len(b))] ^= c
		}
		b = b[:uint(len(b))-cut%uint(len(b))]
		m, err := check1(b)
		if same := bytes.Equal(b, whole); same != (err == nil) || same != (m != nil && err == nil) {
			t.Errorf("the same: %t, %v", same, err)
		}
	})
}

// What nats-server sends is read without a panic, and what is read is written again so that it reads the same.
func FuzzScan(f *testing.F) {
	_, err := readArchive(bytes.NewReader(small(f)), func(p packed) error {
		b, err := io.ReadAll(s2.NewReader(p.data))
		f.Add(b)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		var packed bytes.Buffer
		z := s2.NewWriter(&packed, s2.WriterUncompressed(), s2.WriterConcurrency(1))
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := scan{again: &again, expired: time.Unix(1, 0)}.run(&packed)
		if err != nil {
			return
		}
		other, err := scan{expired: time.Unix(1, 0)}.run(&again)
		if err != nil {
			t.Fatal(err)
		}
		if other.digest != found.digest || other.lasting != found.lasting || other.messages != found.messages || len(other.consumers) != len(found.consumers) {
			t.Errorf("%+v\n%+v", found, other)
		}
	})
}
