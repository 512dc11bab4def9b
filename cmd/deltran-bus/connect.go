package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/config"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
)

// remoteFlags are for the commands that talk to a running bus.
func remoteFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		configFlag,
		&cli.StringFlag{Name: "server", Aliases: []string{"s"}, EnvVars: []string{"NATS_URL"}, Usage: "`URL` of the bus, or of any NATS (default: where the configuration listens)"},
		&cli.StringFlag{Name: "creds", Usage: "log in with a credentials `FILE`"},
		&cli.StringFlag{Name: "nkey", Usage: "log in with the nkey whose seed is in `FILE`"},
		&cli.StringFlag{Name: "tlsca", Usage: "trust the CA in `FILE`"},
		&cli.StringFlag{Name: "tlscert", Usage: "show the client certificate in `FILE`"},
		&cli.StringFlag{Name: "tlskey", Usage: "its key `FILE`"},
		&cli.DurationFlag{Name: "timeout", Value: 10 * time.Second, Usage: "give up after `DURATION`"},
		jsonFlag,
	}, more...)
}

// remote is the bus that the command line means, and the declaration to hold it against.
type remote struct {
	cfg    *config.Config
	limits natsserver.JSLimitOpts // of the own bus: no request tells them
	nc     *nats.Conn
	js     jetstream.JetStream

	attempted   atomic.Pointer[attempted]
	noConsumers bool // whoever is logged in may make none
}

// withRemote is a command that talks to a running bus.
func withRemote(command func(*cli.Context, *remote) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		src, err := sources(c)
		if err != nil {
			return err
		}
		r := &remote{}
		server := c.String("server")
		if server != "" { // of a NATS elsewhere only the streams count
			r.cfg, err = config.LoadLayout(src...)
		} else if r.cfg, err = config.Load(src...); err == nil {
			if o, _, err := r.cfg.Options(); err == nil { // whose secrets and certificates may be for the bus alone
				r.limits = o.JetStreamLimits
			}
			server, err = localServer(r.cfg)
		}
		if err != nil {
			return err
		}
		var refused context.CancelCauseFunc
		c.Context, refused = context.WithCancelCause(c.Context)
		defer refused(nil)
		if err := r.connect(c, server, refused); err != nil {
			return err
		}
		defer r.nc.Close()
		err = command(c, r)
		if cause := context.Cause(c.Context); errors.Is(cause, nats.ErrPermissionViolation) {
			return notPermitted(cause)
		}
		return err
	}
}

var permission = regexp.MustCompile(`(?i)permissions violation for (\w+)[^"]*"([^"]*)"`)

// notPermitted words the server's refusal of what a command asked for.
func notPermitted(err error) error {
	what, who := err.Error(), "observer (to look) or operator (to change)"
	if m := permission.FindStringSubmatch(what); m != nil {
		if what = strings.ToLower(m[1]) + " " + m[2]; !strings.HasPrefix(m[2], "$JS.") {
			who = "admin" // no other role gives the right to an event
		}
	}
	return fmt.Errorf("whoever this is logged in as may not %s; log in as a service whose role is %s, see deltran-bus permissions", what, who)
}

// connect logs in. What the server does not permit it would leave unanswered: refused is told.
func (r *remote) connect(c *cli.Context, server string, refused context.CancelCauseFunc) (err error) {
	opts := []nats.Option{nats.Name("deltran-bus " + c.Command.Name), nats.Timeout(c.Duration("timeout")), nats.MaxReconnects(0),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrPermissionViolation) {
				return
			}
			if a := r.attempted.Load(); a != nil && strings.Contains(err.Error(), `"`+a.api) {
				a.refused(err)
			} else {
				refused(err)
			}
		})}
	if c.Command.Name == "tail" { // which goes on when the bus has been started again
		opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
			nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
				if err != nil {
					fmt.Fprintln(c.App.ErrWriter, "deltran-bus: the connection is lost; waiting for another")
				}
			}))
	}
	if f := c.String("creds"); f != "" {
		opts = append(opts, nats.UserCredentials(f))
	}
	if f := c.String("nkey"); f != "" {
		opt, err := nats.NkeyOptionFromSeed(f)
		if err != nil {
			return misuse("--nkey %s: %w", f, plainPath(err))
		}
		opts = append(opts, opt)
	}
	if f := c.String("tlsca"); f != "" {
		opts = append(opts, nats.RootCAs(f))
	}
	cert, key := c.String("tlscert"), c.String("tlskey")
	if (cert == "") != (key == "") {
		return misuse("--tlscert and --tlskey go together")
	}
	if cert != "" {
		opts = append(opts, nats.ClientCert(cert, key))
	}
	if r.nc, err = nats.Connect(server, opts...); err != nil {
		return unreachable(server, err)
	}
	if strings.ContainsRune(server, '@') && slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasSuffix(arg, server) }) {
		fmt.Fprintln(c.App.ErrWriter, "deltran-bus: what logs in stands among the arguments, where everybody on this machine sees it; NATS_URL keeps it from them")
	}
	if r.js, err = jetstream.New(r.nc, jetstream.WithDefaultTimeout(c.Duration("timeout"))); err != nil {
		r.nc.Close()
	}
	return err
}

// attempted is a request that a command can do without.
type attempted struct {
	api     string // what its subject begins with
	refused context.CancelCauseFunc
}

// attempt does what ends with the server's refusal of a request below api, instead of waiting for an answer that will not
// come, and lets the command go on.
func (r *remote) attempt(ctx context.Context, api string, do func(context.Context) error) error {
	ctx, refused := context.WithCancelCause(ctx)
	defer refused(nil)
	r.attempted.Store(&attempted{api, refused})
	defer r.attempted.Store(nil)
	err := do(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, nats.ErrPermissionViolation) {
		return cause
	}
	return err
}

// localServer is where a bus with that configuration listens on this machine.
func localServer(cfg *config.Config) (string, error) {
	listen, _ := cfg.NATS["listen"].(string)
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" || port == "-1" {
		return "", misuse("the configuration's nats.listen %q does not say where the bus is; name it with --server", listen)
	}
	return "nats://" + net.JoinHostPort(reachable(host), port), nil
}

// reachable is a host to dial for a host to listen on.
func reachable(host string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// unreachable says what to do about a bus that does not answer, without the credentials its URL may hold.
func unreachable(server string, err error) error {
	at := plainURL(server)
	var wrong *url.Error
	if errors.As(err, &wrong) { // which prints what stands before the @
		return misuse("%s is not the URL of a NATS; write nats://HOST:PORT or nats://USER:PASSWORD@HOST:PORT, in a password %%40 for @ and %%2F for /", at)
	}
	var network net.Error // which a dial that takes too long is, and os.ErrDeadlineExceeded it is not
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.As(err, &network) && network.Timeout(), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("nobody answers at %s; start the bus with deltran-bus serve, or name another with --server", at)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("%s lets in only those who log in, and not with these credentials, if there were any; use --nkey, --tlscert, --creds, or NATS_URL=nats://USER:PASSWORD@HOST:PORT", at)
	}
	return fmt.Errorf("connect to %s: %w", at, err)
}

// plainURL is a URL, or several, without what logs in: before the @ stands a password or, alone, a token.
func plainURL(server string) string {
	urls := strings.Split(server, ",")
	for i, s := range urls {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(s), "://")
		if !ok {
			scheme, rest = "nats", scheme
		}
		urls[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(urls, ",")
}

// noJetStream words the answer of a NATS without JetStream, or without the right to use it.
func noJetStream(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("there is no JetStream for this account: %w", err)
	}
	return err
}
