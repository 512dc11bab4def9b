package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deltran/deltran-bus/scripts/internal/tools"
)

// A cli runs natscli commands against one bus, without the operator's own contexts and without a terminal to prompt on.
type cli struct {
	ctx               context.Context
	binary, home, url string
}

func (n cli) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(n.ctx, n.binary, args...)
	cmd.Env = append(os.Environ(), "HOME="+n.home, "XDG_CONFIG_HOME="+n.home, "NATS_URL="+n.url, "NATS_CONTEXT=")
	return cmd
}

// run returns what the command answers, without its remarks on stderr.
func (n cli) run(args ...string) (string, error) { return do(n.command(args...)) }

// says is an error unless the command succeeds and what it prints holds every one of the words.
func (n cli) says(words []string, args ...string) error {
	out, err := n.command(args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nats %s: %w:\n%s", strings.Join(args, " "), err, out)
	}
	for _, w := range words {
		if !strings.Contains(string(out), w) {
			return fmt.Errorf("nats %s: no %q in:\n%s", strings.Join(args, " "), w, out)
		}
	}
	return nil
}

// decode runs a command and reads its JSON.
func (n cli) decode(answer any, args ...string) error {
	out, err := n.run(args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), answer)
}

// natscli is the operator's side: the specification's commands and what monitoring scripts run.
func natscli(ctx context.Context, s *session) error {
	binary, err := tools.CLI(ctx, s.bin)
	if err != nil {
		return err
	}
	n := cli{ctx, binary, s.dir, s.Client}
	event := string(newEvent())

	s.check("stream ls names the eight", n.list())
	s.check("stream info TRANSACTIONS shows both forms and seven days", n.streamInfo())
	s.check("pub events.clearing.window.opened is stored in CLEARING",
		n.says([]string{"Stored in Stream: CLEARING"}, "pub", "--jetstream", "events.clearing.window.opened", event))
	s.check("stream get CLEARING 1 shows the event", n.says([]string{"events.clearing.window.opened", event}, "stream", "get", "CLEARING", "1"))
	for _, c := range consumers {
		s.check("consumer info "+c.stream+" "+c.name, n.consumerInfo(c))
		s.check("consumer next --ack takes an event from "+c.name, n.next(c, event))
	}

	s.check("server check connection", n.says([]string{"OK"}, "server", "check", "connection"))
	s.check("server check jetstream", n.says([]string{"OK", "streams=8", "consumers=2"}, "server", "check", "jetstream"))
	for _, stream := range streams {
		s.check("server check stream "+stream, n.says([]string{"OK"}, "server", "check", "stream", "--stream", stream))
	}
	for _, c := range consumers {
		s.check("server check consumer "+c.name,
			n.says([]string{"OK", "pending=0"}, "server", "check", "consumer", "--stream", c.stream, "--consumer", c.name))
	}
	s.check("server check message", n.says([]string{"OK"}, "server", "check", "message", "--stream", "CLEARING",
		"--subject", "events.clearing.window.opened", "--content", "transaction.created"))
	s.check("stream report and consumer report", errors.Join(
		n.says(streams, "stream", "report"),
		n.says([]string{"notification-engine-consumer"}, "consumer", "report", "NOTIFICATIONS")))
	s.check("account info", n.says([]string{"deltran-bus", "8.0 MiB"}, "account", "info"))
	s.check("stream backup and restore bring CLEARING back", n.backup(event, filepath.Join(s.dir, "backup")))
	n.backups(ctx, s, event)
	s.check("the specification's stream add leaves what stands alone", n.addAgain(s.dir))
	s.check("the specification's consumer add narrows a filter; plan sees it and apply mends it", n.narrow(s.binary))
	return nil
}

func (n cli) list() error {
	out, err := n.run("stream", "ls", "--names")
	if err != nil {
		return err
	}
	found := strings.Fields(out)
	slices.Sort(found)
	return same("streams", strings.Join(found, " "), strings.Join(slices.Sorted(slices.Values(streams)), " "))
}

func (n cli) streamInfo() error {
	var info struct {
		Config struct {
			Subjects []string
			MaxAge   int64 `json:"max_age"`
			Storage  string
		}
	}
	err := n.decode(&info, "stream", "info", "TRANSACTIONS", "--json")
	return errors.Join(err,
		same("subjects", strings.Join(info.Config.Subjects, " "), "events.transactions.* events.transactions.*.>"),
		same("max age", info.Config.MaxAge, int64(7*24*3600e9)),
		same("storage", info.Config.Storage, "file"))
}

type consumerInfo struct {
	Created string
	Config  struct {
		AckPolicy      string   `json:"ack_policy"`
		AckWait        int64    `json:"ack_wait"`
		MaxDeliver     int      `json:"max_deliver"`
		FilterSubjects []string `json:"filter_subjects"`
	}
}

func (n cli) consumerInfo(c consumer) error {
	var info consumerInfo
	err := n.decode(&info, "consumer", "info", c.stream, c.name, "--json")
	return errors.Join(err,
		same("ack policy", info.Config.AckPolicy, "explicit"),
		same("ack wait", info.Config.AckWait, c.ackWait.Nanoseconds()),
		same("max deliver", info.Config.MaxDeliver, maxDeliver),
		same("filters", strings.Join(info.Config.FilterSubjects, " "), c.filter+" "+c.filter+".>"))
}

func (n cli) next(c consumer, event string) error {
	subject := strings.TrimSuffix(c.filter, "*") + "window.opened"
	if _, err := n.run("pub", "--jetstream", subject, event); err != nil {
		return err
	}
	return n.says([]string{subject, event, "Acknowledged"}, "consumer", "next", c.stream, c.name, "--ack")
}

// backup takes CLEARING away and brings it back with its message.
func (n cli) backup(event, dir string) error {
	for _, args := range [][]string{
		{"stream", "backup", "CLEARING", dir, "--no-progress"},
		{"stream", "rm", "--force", "CLEARING"},
	} {
		if _, err := n.run(args...); err != nil {
			return err
		}
	}
	if _, err := n.run("stream", "get", "CLEARING", "1"); err == nil {
		return errors.New("CLEARING was not removed")
	}
	if _, err := n.run("stream", "restore", dir, "--no-progress"); err != nil {
		return err
	}
	return n.says([]string{event}, "stream", "get", "CLEARING", "1")
}

// addAgain runs what an old setup script runs: one file with all streams in it, which on an empty server makes a
// TRANSACTIONS that captures nothing. Here it must be refused and change nothing.
func (n cli) addAgain(dir string) error {
	setup := filepath.Join(dir, "streams-setup.json")
	if err := os.WriteFile(setup, []byte(`{"streams": [{"name": "TRANSACTIONS", "subjects": ["events.transactions.*"]}]}`), 0o600); err != nil {
		return err
	}
	if out, err := n.run("stream", "add", "TRANSACTIONS", "--config", setup); err == nil {
		return fmt.Errorf("accepted:\n%s", out)
	}
	return n.streamInfo()
}

// narrow runs the specification's consumer add, which nats-server takes as an update: four-part events would never be
// delivered again. The declaration knows better.
func (n cli) narrow(bus string) error {
	c := consumers[0]
	if _, err := n.run("consumer", "add", c.stream, c.name, "--filter", c.filter, "--ack", "explicit", "--pull",
		"--deliver", "all", "--max-deliver", "3", "--wait", "30s", "--defaults"); err != nil {
		return err
	}
	plan := exec.CommandContext(n.ctx, bus, "plan", "--server", n.url)
	out, err := plan.Output()
	if plan.ProcessState == nil || plan.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "filter_subjects") {
		return fmt.Errorf("plan: %v:\n%s", err, out)
	}
	if _, err := do(exec.CommandContext(n.ctx, bus, "apply", "--server", n.url)); err != nil {
		return err
	}
	return n.consumerInfo(c)
}
