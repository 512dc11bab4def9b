package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/deltran/deltran-bus/access"
	"github.com/deltran/deltran-bus/config"
	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
)

func permissionsFlags() []cli.Flag { return []cli.Flag{configFlag, jsonFlag} }

// rights is one service in permissions --json.
type rights struct {
	access.Grant
	Logins []string      `json:"logins"` // "password of token-engine", "nkey U…", "certificate CN=…"
	Limits config.Limits `json:"limits"`
}

// permissions prints what each service may do and why, in words and as NATS configuration.
func permissions(c *cli.Context) error {
	if c.NArg() > 1 {
		return misuse("permissions takes the name of one service, and got %q", c.Args().Slice())
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	all := []rights{}
	for i, g := range cfg.Grants() {
		if s := cfg.Services[i]; name == "" || s.Name == name {
			all = append(all, rights{g, loginsOf(s), cfg.LimitsOf(s)})
		}
	}
	if name != "" && len(all) == 0 {
		return noService(cfg, name)
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "no services are declared: whoever reaches the bus and logs in where [nats.authorization] asks for it may do what that says")
		return err
	}
	for _, r := range all {
		if err := r.write(c.App.Writer); err != nil {
			return err
		}
	}
	which := []string{}
	if name != "" {
		which = append(which, name)
	}
	_, err = fmt.Fprintf(c.App.Writer, "As nats-server's configuration; \"the bus\" is the account of the streams, here $G:\n\n%s", cfg.NATSAccounts(which...))
	return err
}

func noService(cfg *config.Config, name string) error {
	var names []string
	for _, s := range cfg.Services {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return misuse("there is no service %q: none is declared", name)
	}
	return misuse("there is no service %q; there are %s", name, strings.Join(names, ", "))
}

func loginsOf(s access.Service) (logins []string) {
	users := []string{}
	for u := range s.Users {
		users = append(users, u)
	}
	slices.Sort(users)
	if s.Password != "" {
		users = append([]string{s.Name}, users...)
	}
	for _, u := range users {
		logins = append(logins, "password of "+u)
	}
	for _, k := range s.NKeys {
		logins = append(logins, "nkey "+k)
	}
	for _, cert := range s.Certificates {
		logins = append(logins, "certificate "+cert)
	}
	return logins
}

// write prints one service in words.
func (r rights) write(w io.Writer) error {
	where := "in an account of its own"
	if r.Inside {
		where = "in the account of the streams"
	}
	what := "service"
	if r.Role != access.None {
		what = string(r.Role)
	}
	fmt.Fprintf(w, "%s: %s, %s\n", r.Service, what, where)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := func(label string, words ...string) {
		for i, word := range words {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(tw, "  %s\t%s\n", label, word)
		}
	}
	subjects := func(label string, rights []access.Right) {
		for i, right := range rights {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", label, right.Subject, right.Why)
		}
	}
	lines("logs in by", r.Logins...)
	subjects("publish", r.Publish)
	subjects("but not", r.Except)
	subjects("subscribe", r.Subscribe)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  limits      %s\n\n", limitWords(r.Limits))
	return err
}

func limitWords(l config.Limits) string {
	n := func(limit int, noun string) string {
		if limit < 0 {
			return "any number of " + noun
		}
		return humanize.Comma(int64(limit)) + " " + noun
	}
	return fmt.Sprintf("%s, %s each, messages of %s, %s waiting for one client", n(l.Connections, "connections"), n(l.Subscriptions, "subscriptions"),
		humanize.IBytes(uint64(l.Payload)), humanize.IBytes(uint64(l.Pending)))
}
