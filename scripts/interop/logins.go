package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"github.com/deltran/deltran-bus/scripts/internal/tools"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// A login is one way for the service "engine" to come in.
type login struct {
	way           string // password, nkey, certificate
	url           string
	ca            string
	first, second string // user and password, public key and seed file, certificate and key
}

// The two buses: where NATS looks at certificates it takes no passwords.
const (
	engine = `
[nats.tls]
cert_file = "tls/server.pem"
key_file = "tls/server-key.pem"
ca_file = "tls/ca.pem"
[[services]]
name = "engine"
%s
publishes = ["events.notifications.>"]
consumes = ["NOTIFICATIONS/notification-engine-consumer"]
`
	secret = "correct horse battery staple"
)

// logins has every client come in in every way, do what its service may, and be refused what it may not.
func logins(ctx context.Context, s *session) error {
	seed, public, err := newSeed(s.dir)
	if err != nil {
		return err
	}
	if _, err := do(s.bus(ctx, "tls", "init", "--client", "engine")); err != nil {
		return err
	}
	hash := s.bus(ctx, "hash-password")
	hash.Stdin = strings.NewReader(secret + "\n")
	hashed, err := do(hash)
	if err != nil {
		return err
	}
	at := func(name string) string { return filepath.Join(s.dir, "tls", name) }
	nkey := fmt.Sprintf("nkeys = [%q]\n", public)
	var ways []login
	for name, credentials := range map[string]string{
		"passwords":    nkey + "password = \"" + strings.TrimSpace(hashed) + "\"",
		"certificates": nkey + `certificates = ["CN=engine"]`,
	} {
		b, err := s.secured(ctx, name, fmt.Sprintf(engine, credentials))
		if err != nil {
			return err
		}
		defer func() { s.check("the bus with "+name+" stops", b.Stop()) }()
		url := strings.Replace(b.Client, "nats://", "tls://", 1)
		if name == "passwords" {
			ways = append(ways, login{"password", url, at("ca.pem"), "engine", secret}, login{"nkey", url, at("ca.pem"), public, seed})
		} else {
			ways = append(ways, login{"certificate", url, at("ca.pem"), at("engine.pem"), at("engine-key.pem")})
		}
	}
	return errors.Join(s.goLogins(ctx, ways), s.jsLogins(ctx, ways), s.cLogins(ctx, ways), s.cliLogins(ctx, ways))
}

func newSeed(dir string) (file, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", "", err
	}
	seed, err := pair.Seed()
	if err != nil {
		return "", "", err
	}
	file = filepath.Join(dir, "engine.nk")
	if public, err = pair.PublicKey(); err == nil {
		err = os.WriteFile(file, append(seed, '\n'), 0o600)
	}
	return file, public, err
}

// bus is a command of the bus in the client's own folder.
func (s *session) bus(ctx context.Context, args ...string) *exec.Cmd {
	path, _ := filepath.Abs(s.binary)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = s.dir
	return cmd
}

// secured starts a bus on that declaration.
func (s *session) secured(ctx context.Context, name, text string) (*busproc.Bus, error) {
	text = strings.ReplaceAll(text, `"tls/`, `"`+filepath.ToSlash(s.dir)+`/tls/`)
	file := filepath.Join(s.dir, name+".toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return busproc.Start(ctx, s.binary, "-c", file, "--store-dir", filepath.Join(s.dir, name))
}

func (s *session) as(who string) *session {
	other := *s
	other.who = who
	return &other
}

func (s *session) goLogins(ctx context.Context, ways []login) error {
	for _, l := range ways {
		var opt nats.Option
		switch l.way {
		case "password":
			opt = nats.UserInfo(l.first, l.second)
		case "nkey":
			var err error
			if opt, err = nats.NkeyOptionFromSeed(l.second); err != nil {
				return err
			}
		default:
			opt = nats.ClientCert(l.first, l.second)
		}
		s.as("nats.go").check("by "+l.way, goLogin(ctx, l, opt))
	}
	return nil
}

func goLogin(ctx context.Context, l login, opt nats.Option) error {
	nc, err := nats.Connect(l.url, opt, nats.RootCAs(l.ca), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := js.Publish(ctx, "events.notifications.sent", []byte("{}")); err != nil {
		return err
	}
	con, err := js.Consumer(ctx, "NOTIFICATIONS", "notification-engine-consumer")
	if err != nil {
		return err
	}
	m, err := con.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		return err
	}
	if err := m.DoubleAck(ctx); err != nil {
		return err
	}
	if err := errors.Join(nc.Publish("events.settlement.completed", []byte("{}")), nc.Flush()); err != nil {
		return err
	}
	if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("what it may not publish: %v", err)
	}
	return nil
}

func (s *session) jsLogins(ctx context.Context, ways []login) error {
	dir := filepath.Join(s.dir, "js")
	if err := npmInstall(ctx, dir); err != nil {
		return err
	}
	for _, l := range ways {
		args := []string{"login.js", l.url, l.ca, l.way, l.first, l.second}
		if l.way == "nkey" {
			args = []string{"login.js", l.url, l.ca, l.way, l.second}
		}
		node := exec.CommandContext(ctx, "node", args...)
		node.Dir = dir
		if err := s.as("nats.js").program(node); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) cLogins(ctx context.Context, ways []login) error {
	client := filepath.Join(s.dir, "login")
	if err := compile(ctx, "scripts/interop/c/login.c", client); err != nil {
		return err
	}
	for _, l := range ways {
		if err := s.as("c").program(exec.CommandContext(ctx, client, l.url, l.ca, l.way, l.first, l.second)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) cliLogins(ctx context.Context, ways []login) error {
	binary, err := tools.CLI(ctx, s.bin)
	if err != nil {
		return err
	}
	for _, l := range ways {
		n := cli{ctx: ctx, binary: binary, home: s.dir, url: l.url}
		flags := []string{"--tlsca", l.ca}
		switch l.way {
		case "password":
			flags = append(flags, "--user", l.first, "--password", l.second)
		case "nkey":
			flags = append(flags, "--nkey", l.second)
		default:
			flags = append(flags, "--tlscert", l.first, "--tlskey", l.second)
		}
		s.as("natscli").check("by "+l.way, cliLogin(n, flags))
	}
	return nil
}

func cliLogin(n cli, flags []string) error {
	with := func(args ...string) []string { return append(args, flags...) }
	if _, err := n.run(with("pub", "--jetstream", "events.notifications.sent", "{}")...); err != nil {
		return err
	}
	if err := n.says([]string{"Acknowledged"}, with("consumer", "next", "NOTIFICATIONS", "notification-engine-consumer", "--ack")...); err != nil {
		return err
	}
	if out, err := n.run(with("pub", "--jetstream", "--timeout", "300ms", "events.settlement.completed", "{}")...); err == nil {
		return fmt.Errorf("what it may not publish was taken:\n%s", out)
	}
	return nil
}
