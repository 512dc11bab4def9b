package config_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The embedded declaration is the specification's, with the corrections of the design card.
func TestDefaultIsTheSpecification(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	want := map[string]time.Duration{
		"TRANSACTIONS": 7 * day, "COMPLIANCE": 30 * day, "SETTLEMENT": 90 * day, "CLEARING": 30 * day,
		"NOTIFICATIONS": 7 * day, "REPORTING": 90 * day, "RISK": 30 * day, "AUDIT": 180 * day,
	}
	consumers := map[string]time.Duration{"NOTIFICATIONS/notification-engine-consumer": 30 * time.Second, "REPORTING/reporting-engine-consumer": 5 * time.Minute}
	c := config.Default()
	if len(c.Streams) != len(want) {
		t.Errorf("%d streams, want %d", len(c.Streams), len(want))
	}
	var quotas int64
	for _, s := range c.Streams {
		domain := "events." + strings.ToLower(s.Name)
		subjects := []string{domain + ".*", domain + ".*.>"}
		if s.Name == "AUDIT" {
			subjects = append(subjects, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
		}
		if s.MaxAge != want[s.Name] || !reflect.DeepEqual(s.Subjects, subjects) || s.Description == "" {
			t.Errorf("stream %s: max_age %s, subjects %q, description %q", s.Name, s.MaxAge, s.Subjects, s.Description)
		}
		if s.Storage != jetstream.FileStorage || s.Discard != jetstream.DiscardNew || s.MaxBytes <= 0 || !s.AllowDirect {
			t.Errorf("stream %s: storage %s, discard %s, max_bytes %d, allow_direct %t", s.Name, s.Storage, s.Discard, s.MaxBytes, s.AllowDirect)
		}
		if audit := s.Name == "AUDIT"; s.DenyDelete != audit || s.DenyPurge != audit {
			t.Errorf("stream %s: deny_delete %t, deny_purge %t", s.Name, s.DenyDelete, s.DenyPurge)
		}
		quotas += s.MaxBytes
		for _, con := range s.Consumers {
			name := s.Name + "/" + con.Name
			if con.AckWait != consumers[name] || con.MaxDeliver != 3 || con.Durable != con.Name || con.AckPolicy != jetstream.AckExplicitPolicy || !reflect.DeepEqual(con.FilterSubjects, subjects) {
				t.Errorf("consumer %s: %+v", name, con)
			}
			delete(consumers, name)
		}
	}
	if len(consumers) > 0 {
		t.Errorf("no consumers %v", consumers)
	}
	if o, _, err := c.Options(); err != nil || !o.SyncAlways || o.JetStreamMaxStore != 10<<30 || o.MaxPayload != 8<<20 || o.Host != "127.0.0.1" || o.Port != 4222 || o.WriteDeadline != 10*time.Second || quotas > o.JetStreamMaxStore {
		t.Errorf("options %+v, %v; quotas %d", o, err, quotas)
	}
}

// Each file of testdata/problems is judged for this machine; beside it stands what is said of it, whole.
func TestProblems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/problems/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Check(context.Background(), config.File(filepath.Base(file), string(text)))
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

const rich = `
[nats]
max_connections = 100
ping_interval = "20s"
[nats.jetstream]
sync_interval = "2m"
encryption_key = "env:KEY"
limits = { max_ack_pending = 500 }
[nats.cluster]
name = "c1"
listen = "127.0.0.1:0"
routes = ["nats://127.0.0.1:6222"]
[[nats.authorization.users]]
user = "u"
password = "$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
[nats.mappings]
"old.>" = "new.>"
[bus]
lame_duck = "1m30s"
[[streams]]
name = "A"
subjects = ["a.>"]
storage = "memory"
retention = "interest"
max_bytes = "200MB"
max_msg_size = "1MB"
max_age = "1d12h"
compression = "s2"
num_replicas = 3
placement = { cluster = "east", tags = ["ssd"] }
metadata = { owner = "risk", "odd key" = "x" }
[streams.republish]
src = "a.>"
dest = "b.>"
[[streams.consumers]]
name = "c"
filter_subjects = ["a.x"]
backoff = ["1s", "1m30s"]
max_deliver = 5
deliver_policy = "by_start_sequence"
opt_start_seq = 7
priority_policy = "overflow"
priority_groups = ["g"]
[[streams.consumers]]
durable_name = "d"
deliver_policy = "by_start_time"
opt_start_time = 2026-01-01T01:00:00+01:00
[[streams]]
name = "M"
mirror = { name = "A", opt_start_time = 2026-01-01T00:00:00Z, external = { api = "$JS.x.API", deliver = "d" } }
[[streams]]
name = "AUDIT"
max_age = "0s"
[[services]]
name = "engine"
password = "env:ENGINE"
users = { other = "file:other" }
publishes = ["a.x", "a.y.>"]
[[services]]
name = "desk"
nkeys = ["UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"]
role = "observer"
max_payload = "1MB"
`

// Printing what was printed gives the same bytes, and the same declaration.
func TestPrintingIsAFixedPoint(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"", rich, "[bus]\ndefault_streams = false\n", config.Embedded()} {
		first, err := config.Parse("first", src)
		if err != nil {
			t.Fatal(err)
		}
		printed := print(t, first)
		second, err := config.Parse("second", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if d := cmp.Diff(printed, print(t, second)); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(first.Streams, second.Streams); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(first.NATS, second.NATS); d != "" {
			t.Error(d)
		}
	}
}

func print(t *testing.T, c *config.Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Streams and consumers are merged by name; everything else is replaced key by key; the later source wins.
func TestLayers(t *testing.T) {
	t.Parallel()
	c, err := config.Load(
		config.File("site.toml", `
[nats.jetstream]
max_file_store = "20GB"
[[streams]]
name = "REPORTING"
max_age = "10d"
[[streams.consumers]]
name = "reporting-engine-consumer"
max_deliver = 7
[[streams.consumers]]
name = "archive"
[[streams]]
name = "PAYMENTS"
subjects = ["events.payments.>"]
`), config.Set("--listen", "nats.listen", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Streams) != 9 || c.Streams[8].Name != "PAYMENTS" {
		t.Errorf("%d streams, the last %s", len(c.Streams), c.Streams[len(c.Streams)-1].Name)
	}
	r := c.Streams[5]
	if r.Name != "REPORTING" || r.MaxAge != 240*time.Hour || r.MaxBytes != 1<<30 || len(r.Consumers) != 2 {
		t.Fatalf("%+v", r)
	}
	if con := r.Consumers[0]; con.MaxDeliver != 7 || con.AckWait != 5*time.Minute || r.Consumers[1].Durable != "archive" {
		t.Errorf("%+v", r.Consumers)
	}
	js := c.NATS["jetstream"].(map[string]any)
	if c.NATS["listen"] != "127.0.0.1:0" || js["max_file_store"] != "20GB" || js["sync_interval"] != "always" {
		t.Errorf("%v", c.NATS)
	}
	if d := cmp.Diff(config.Default().Streams, must(config.Load()).Streams); d != "" {
		t.Errorf("a later Load changed the embedded declaration:\n%s", d)
	}

	c = must(config.Parse("x", "[bus]\ndefault_streams = false\n[[streams]]\nname = \"AUDIT\"\n"))
	if len(c.Streams) != 1 || c.Streams[0].MaxAge != 0 {
		t.Errorf("%+v", c.Streams)
	}
}

func must(c *config.Config, err error) *config.Config {
	if err != nil {
		panic(err)
	}
	return c
}

// A flag, the environment and a file are named in what they got wrong, each with its place.
func TestProblemsNameTheirSource(t *testing.T) {
	t.Parallel()
	_, err := config.Load(
		config.File("site.toml", "[nats]\nlisten = \"127.0.0.1:4222\"\n\n[monitor]\nlisten = 8222\n"),
		config.Set("DELTRAN_BUS_SYNC", "nats.jetstream.sync_interval", "often"),
		config.Set("--listen", "nats.listen", "nowhere"))
	var got []string
	for _, p := range err.(config.Problems) {
		got = append(got, strings.SplitAfterN(p.Error(), ": ", 3)[0])
	}
	if d := cmp.Diff([]string{"--listen: ", "DELTRAN_BUS_SYNC: ", "site.toml:5: "}, got); d != "" {
		t.Errorf("%s\n%v", d, err)
	}
}

// A declaration for a NATS elsewhere is not held against this node.
func TestLoadLayout(t *testing.T) {
	t.Parallel()
	src := config.File("x", "[[streams]]\nname = \"A\"\nnum_replicas = 3\nmax_bytes = \"1TB\"\n")
	if _, err := config.LoadLayout(src); err != nil {
		t.Error(err)
	}
	if _, err := config.Load(src); err == nil || len(err.(config.Problems)) != 2 {
		t.Errorf("%v", err)
	}
}

func TestEphemeral(t *testing.T) {
	t.Parallel()
	c := config.Default()
	before := print(t, c)
	for _, s := range c.Ephemeral().Streams {
		if s.Storage != jetstream.MemoryStorage {
			t.Errorf("%s: %s", s.Name, s.Storage)
		}
	}
	if err := c.Ephemeral().Validate(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(before, print(t, c)); d != "" {
		t.Errorf("Ephemeral changed its receiver:\n%s", d)
	}
}

func BenchmarkDefault(b *testing.B) {
	for b.Loop() {
		config.Default()
	}
}

func BenchmarkCheck(b *testing.B) {
	for b.Loop() {
		if _, err := config.Check(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
