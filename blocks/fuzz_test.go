package blocks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/blocks"
)

// seeds gives the fuzzer files as nats-server wrote them.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "store", pattern))
	if err != nil || len(names) == 0 {
		f.Fatal(pattern, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// Whatever is in a block, plain or compressed: every byte of it is in a record or in a damage, and memory stays bounded.
func FuzzBlock(f *testing.F) {
	seeds(f, "*.blk")
	f.Add([]byte("cmp\x01\x10"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var read, lost int64
		block, damage, err := blocks.ReadBytes("PLAIN", b, func(r *blocks.Record) error {
			if r.Offset < read {
				t.Fatalf("record at %d, after one at %d", r.Offset, read)
			}
			read = r.Offset
			return nil
		})
		if err != nil || block.Size != int64(len(b)) {
			t.Fatal(block, err)
		}
		for _, d := range damage {
			lost += d.Size
			if d.Offset < 0 || d.Offset > int64(len(b)) || d.Behind < 0 || d.String() == "" {
				t.Fatalf("%+v", d)
			}
		}
		if len(b) > 0 && block.Records == 0 && len(damage) == 0 {
			t.Fatal("nothing read, and nothing wrong")
		}
	})
}

// A store in which any file holds anything.
func FuzzScan(f *testing.F) {
	whole, _ := filepath.Glob(filepath.Join("testdata", "store", "PLAIN-*"))
	names := []string{"msgs/1.blk", "msgs/index.db", "msgs/thw.db", "msgs/sched.db", "sources.db", "meta.inf", "meta.sum", "obs/C/o.dat", "obs/C/meta.inf", "batches/B/msgs/1.blk"}
	for i := range names {
		f.Add(uint8(i), []byte("damaged"), true)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte, clean bool) {
		dir := filepath.Join(t.TempDir(), "S")
		for _, name := range whole {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			name = strings.TrimPrefix(filepath.Base(name), "PLAIN-")
			if ext := filepath.Ext(name); ext == ".blk" || ext == ".db" {
				name = filepath.Join("msgs", name)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), b)
		}
		path := filepath.Join(dir, filepath.FromSlash(names[int(which)%len(names)]))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, append([]byte{}, b...))
		scan(t, dir, blocks.Options{Clean: clean})
	})
}

func FuzzIndex(f *testing.F) {
	seeds(f, "*index.db")
	f.Fuzz(func(t *testing.T, b []byte) { blocks.TryIndex(b) })
}

func FuzzTimers(f *testing.F) {
	seeds(f, "*thw.db")
	seeds(f, "*sched.db")
	seeds(f, "*sources.db")
	f.Fuzz(func(t *testing.T, b []byte) { blocks.TryTimers(b) })
}

func FuzzConsumerState(f *testing.F) {
	seeds(f, "*o.dat")
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := blocks.DecodeConsumerState(b); err == nil && (s.AckFloor.Stream > s.Delivered.Stream || s.Pending > len(b)) {
			t.Fatalf("%+v", s)
		}
	})
}
