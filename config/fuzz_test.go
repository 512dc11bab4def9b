package config

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/nats-io/nats-server/v2/conf"
)

// Whatever bytes come, Parse answers with a declaration that prints as a fixed point, or with problems that each have
// a line of the file.
func FuzzParse(f *testing.F) {
	f.Add(defaults)
	f.Add("[[streams]]\nname='A'\nsubjects=['a.>']\n[[streams.consumers]]\nname='c'\nbackoff=['1s']\nmax_deliver=2\n")
	f.Add("[nats]\nlisten = 0\n[nats.tls]\nverify = true\n[bus]\nallow_insecure = true\n")
	f.Add("streams = [{name='x', placement={cluster='y'}}, 3]\nnats.jetstream = true\n")
	f.Add("[nats.authorization]\nusers = [{user='a', password='env:A'}]\n\"a\\\"b\" = '''x\n'''\n")
	f.Fuzz(func(t *testing.T, src string) {
		c, err := Parse("x", src)
		if err != nil {
			for _, p := range err.(Problems) {
				if p.File == "x" && (p.Line < 1 || p.Line > strings.Count(src, "\n")+1) || p.Message == "" {
					t.Fatalf("%q: line %d of %d", p.Error(), p.Line, strings.Count(src, "\n")+1)
				}
			}
			return
		}
		var first, second bytes.Buffer
		if err := c.Write(&first); err != nil {
			t.Fatal(err)
		}
		c, err = Parse("y", first.String())
		if err != nil {
			t.Fatalf("%v\n%s", err, first.String())
		}
		if err := c.Write(&second); err != nil || first.String() != second.String() {
			t.Fatalf("%v\n%s\n---\n%s", err, first.String(), second.String())
		}
	})
}

// Every key of a valid document has the line on which its statement stands.
func FuzzLines(f *testing.F) {
	f.Add(defaults)
	f.Add("a=1\n[[b]]\n c . \"d=#\" = '''\n]\n''' # x\n[[b]]\n[b.e]\nf=[\n1, # ]\n2]\ng=\"\"\"\"\"x\"\"\"\"\"\n")
	f.Fuzz(func(t *testing.T, src string) {
		var m map[string]any
		if _, err := toml.Decode(src, &m); err != nil {
			return
		}
		rows := strings.Split(src, "\n")
		s := File("x", src)
		for k := range m {
			n := s.line(path{k})
			if n < 1 || n > len(rows) || !strings.Contains(rows[n-1], "[") && !strings.Contains(rows[n-1], "=") {
				t.Fatalf("%q on line %d of\n%s", k, n, src)
			}
		}
	})
}

// What is written for nats-server, it reads back as it was.
func FuzzNATSQuote(f *testing.F) {
	f.Add("a.>")
	f.Add("\"\\\x00\n$HOME 8MB é")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := conf.Parse("v: " + natsQuote(s))
		if err != nil || m["v"] != s {
			t.Fatalf("%q came back as %q, %v", s, m["v"], err)
		}
	})
}

func FuzzDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("106751d")
	f.Add("1.5h")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if back, err := ParseDuration(FormatDuration(d)); d < 0 || err != nil || back != d {
			t.Fatalf("%q is %d, written %q, read %d, %v", s, d, FormatDuration(d), back, err)
		}
	})
}

func FuzzSize(f *testing.F) {
	f.Add("8MB")
	f.Add("9223372036854775807")
	f.Add("99999999E")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if back, err := ParseSize(FormatSize(n)); n < 0 || err != nil || back != n {
			t.Fatalf("%q is %d, written %q, read %d, %v", s, n, FormatSize(n), back, err)
		}
	})
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{"0": 0, "8MB": 8 << 20, "10GB": 10 << 30, "64k": 64000, "1KiB": 1024} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "8 MB", "-1", "8XB", "9223372036854775808", "9223372036854775807KB", "1.5GB"} {
		if n, err := ParseSize(s); err == nil {
			t.Errorf("%q: %d", s, n)
		}
	}
	for s, want := range map[string]time.Duration{"7d": 168 * time.Hour, "1d12h": 36 * time.Hour, "30s": 30 * time.Second, "0s": 0, "1m30s": 90 * time.Second} {
		if got, err := ParseDuration(s); err != nil || got != want || FormatDuration(got) != s {
			t.Errorf("%s: %s, %v, %s", s, got, err, FormatDuration(got))
		}
	}
	for _, s := range []string{"", "7", "-5s", "1d-1h", "+1s", "1d+1s", "200000d", "7 d", "1w"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("%q: %s", s, d)
		}
	}
}
