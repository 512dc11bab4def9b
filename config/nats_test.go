package config

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

// natskeys.txt holds the words of this nats-server's configuration, read from its source.
func TestNATSKeysAreNATSServers(t *testing.T) {
	t.Parallel()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "server", "opts.go"))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, m := range regexp.MustCompile(`case ((?:"[a-z0-9_]+"(?:, )?)+):`).FindAllSubmatch(src, -1) {
		for _, w := range strings.Split(string(m[1]), ", ") {
			words = append(words, strings.Trim(w, `"`))
		}
	}
	slices.Sort(words)
	if d := cmp.Diff(slices.Compact(words), strings.Fields(natsKeys)); d != "" {
		t.Errorf("natskeys.txt is not nats-server's (-nats-server +file):\n%s", d)
	}
}

// Every field of JetStream's API can be declared: it decodes from its own name and prints back.
func TestEveryFieldCanBeDeclared(t *testing.T) {
	t.Parallel()
	for _, table := range []reflect.Type{reflect.TypeFor[jetstream.StreamConfig](), reflect.TypeFor[jetstream.ConsumerConfig]()} {
		for _, f := range reflect.VisibleFields(table) {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if slices.Contains([]string{"template_owner", "durable_name"}, key) { // gone from JetStream; said by name
				continue
			}
			dst := reflect.New(table).Elem()
			d := &decoder{}
			d.fillTable(dst, map[string]any{key: sample(f.Type, key)}, nil)
			if len(d.problems) > 0 || dst.FieldByIndex(f.Index).IsZero() {
				t.Errorf("%s.%s: %v %v", table.Name(), key, d.problems, dst.FieldByIndex(f.Index))
			}
		}
	}
}

// sample is a TOML value for a field of that type.
func sample(t reflect.Type, key string) any {
	if words := enumeration(t); len(words) > 1 {
		return words[1]
	}
	switch {
	case t == durationType:
		return "7d"
	case t == timeType:
		return time.Unix(1, 0)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return sample(t.Elem(), key)
	case reflect.Slice:
		return []any{sample(t.Elem(), key)}
	case reflect.Map:
		return map[string]any{"k": "v"}
	case reflect.Struct:
		f := t.Field(0)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return map[string]any{key: sample(f.Type, key)}
	case reflect.String:
		return "s"
	case reflect.Bool:
		return true
	}
	return int64(1)
}

// Secrets are references; what they stand for reaches nats-server and nothing that is printed or reported.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DELTRAN_TEST_SECRET", "from-the-environment")
	c, err := Parse("x", `
[nats]
authorization = { users = [ { user = "a", password = "file:`+file+`" }, { user = "b", password = "env:DELTRAN_TEST_SECRET" } ] }
[nats.jetstream]
key = "env:DELTRAN_TEST_SECRET"
[nats.leafnodes]
remotes = [ { url = "env:DELTRAN_TEST_SECRET_URL" } ]
`)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DELTRAN_TEST_SECRET_URL", "nats-leaf://u:from-the-environment@127.0.0.1:7422")
	o, secrets, err := c.Options()
	if err != nil {
		t.Fatal(err)
	}
	if o.Users[0].Password != "from-a-file" || o.Users[1].Password != "from-the-environment" || o.JetStreamKey != "from-the-environment" {
		t.Errorf("%q %q %q", o.Users[0].Password, o.Users[1].Password, o.JetStreamKey)
	}
	var b strings.Builder
	if err := c.Write(&b); err != nil || strings.Contains(b.String(), "from-") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if s := Redact("key from-a-file, or nats-leaf://u:from-the-environment@127.0.0.1:7422", secrets); s != "key [secret], or [secret]" {
		t.Error(s)
	}
	t.Setenv("DELTRAN_TEST_SECRET", "")
	_, _, err = c.Options()
	if err == nil || strings.Contains(err.Error(), "from-") || !strings.Contains(err.Error(), "env:DELTRAN_TEST_SECRET is empty") {
		t.Error(err)
	}
}

// The embedded streams are not rehearsed at every start; here they are.
func TestEmbeddedStreamsPassRehearsal(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	c := Default()
	o, _, err := c.Options()
	if err != nil {
		t.Fatal(err)
	}
	if ps := rehearse(context.Background(), c.Streams, o); len(ps) > 0 {
		t.Error(ps)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ nats, want string }{
		{`listen = "127.0.0.1:4222"`, ""},
		{`listen = "localhost:4222"`, ""},
		{`listen = "[::1]:4222"`, ""},
		{`listen = 4222`, "nats.listen"},
		{`listen = "0.0.0.0:4222"`, "nats.listen"},
		{`listen = "[::]:4222"`, "nats.listen"},
		{`listen = "192.168.1.1:4222"`, "nats.listen"},
		{"listen = \"0.0.0.0:4222\"\nauthorization = { token = \"env:T\" }", "nats.listen"},
		{"listen = \"0.0.0.0:4222\"\nauthorization = { token = \"env:T\" }\ntls = { cert_file = \"c\", key_file = \"k\" }", ""},
		{"listen = \"0.0.0.0:4222\"\ntls = { cert_file = \"c\", key_file = \"k\" }", "nats.listen"},
		{"listen = \"0.0.0.0:4222\"\ntls = { cert_file = \"c\", key_file = \"k\" }\nauthorization = { users = [ { user = \"a\", password = \"env:A\" } ] }\nno_auth_user = \"a\"", "nats.listen"},
		{"[nats.cluster]\nname = \"c\"\nlisten = \"0.0.0.0:6222\"", "nats.cluster"},
		{"[nats.leafnodes]\nlisten = \"0.0.0.0:7422\"", "nats.leafnodes"},
		{"[nats.websocket]\nlisten = \"0.0.0.0:8080\"\nno_tls = true", "nats.websocket"},
		{"[nats.mqtt]\nlisten = \"0.0.0.0:1883\"", "nats.mqtt"},
		{"[monitor]\nlisten = \"0.0.0.0:8222\"", "monitor.listen"},
		{"[monitor]\nlisten = \"0.0.0.0:8222\"\n[bus]\nallow_insecure = true", ""},
		{"[monitor]\nlisten = \"0.0.0.0:8222\"\nallow_insecure = true", ""},
		{"listen = \"0.0.0.0:4222\"\n[monitor]\nlisten = \"0.0.0.0:8222\"\nallow_insecure = true", "nats.listen"},
		{"listen = \"0.0.0.0:4222\"\n[bus]\nallow_insecure = true", ""},
	} {
		_, err := Parse("x", "[nats]\n"+tc.nats)
		var got []string
		if err != nil {
			for _, p := range err.(Problems) {
				got = append(got, p.Path)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s\nsays %q, want %q: %v", tc.nats, got, tc.want, err)
		}
	}
}
