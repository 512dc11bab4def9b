package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// examples runs what is in the folder of that name: publishers in three languages, whose events have to be good ones, and
// the two engines, which have to take what is published for them.
func examples(ctx context.Context, s *session) error {
	s.check("a publisher in JavaScript", s.publisher(ctx, func() (*exec.Cmd, error) {
		dir := filepath.Join(s.dir, "js")
		if err := os.CopyFS(dir, os.DirFS("examples/js")); err != nil {
			return nil, err
		}
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		npm.Dir = dir
		_, err := do(npm)
		node := exec.CommandContext(ctx, "node", "publisher.js", s.Client)
		node.Dir = dir
		return node, err
	}))
	s.check("a publisher in C", s.publisher(ctx, func() (*exec.Cmd, error) {
		program := filepath.Join(s.dir, "publisher")
		_, err := do(exec.CommandContext(ctx, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, "examples/c/publisher.c", "-lnats"))
		return exec.CommandContext(ctx, program, s.Client), err
	}))
	crates := exec.CommandContext(ctx, "cargo", "fetch", "--quiet", "--manifest-path", "examples/rust/Cargo.toml")
	crates.Env = append(os.Environ(), "CARGO_NET_RETRY=0")
	if _, err := do(crates); err != nil {
		lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
		s.NotRun(s.who, "a publisher in Rust", errors.New(strings.TrimSpace(lines[len(lines)-1])))
	} else {
		s.check("a publisher in Rust", s.publisher(ctx, func() (*exec.Cmd, error) {
			return exec.CommandContext(ctx, "cargo", "run", "--quiet", "--manifest-path", "examples/rust/Cargo.toml",
				"--target-dir", filepath.Join(s.dir, "rust"), "--", s.Client), nil
		}))
	}
	s.check("the notification engine sends each event once", s.engine(ctx, "notification-engine", "events.notifications.email.requested", 20,
		regexp.MustCompile(`(?m)^sent ()`)))
	s.check("the reporting engine reports on all events", s.engine(ctx, "reporting-engine", "events.reporting.day.closed", 250,
		regexp.MustCompile(`(?m)^report of (\d+) events`)))
	_, err := s.tail(ctx, "events.audit.report.written")
	s.check("and says so in AUDIT", err)
	return nil
}

// publisher runs one, and looks at the event that it says it has published.
func (s *session) publisher(ctx context.Context, build func() (*exec.Cmd, error)) error {
	cmd, err := build()
	if err != nil {
		return err
	}
	said, err := do(cmd)
	if err != nil {
		return err
	}
	stored, err := s.tail(ctx, "events.transactions.created")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%s #%d  %s", stored.Stream, stored.Sequence, stored.Event.ID); strings.TrimSpace(said) != want || stored.Header["Nats-Msg-Id"][0] != stored.Event.ID {
		return fmt.Errorf("it says %q, and the last one is %q", said, want)
	}
	return nil
}

// tailed is a line of tail --json.
type tailed struct {
	Stream   string
	Sequence uint64
	Header   map[string][]string
	Event    struct {
		ID string `json:"event_id"`
	}
	Invalid string
}

// tail is the last event on a subject.
func (s *session) tail(ctx context.Context, subject string) (last tailed, err error) {
	out, err := do(exec.CommandContext(ctx, s.binary, "tail", subject, "--last", "1", "--no-follow", "--json", "--server", s.Client))
	if err != nil {
		return last, err
	}
	if err := json.Unmarshal([]byte(out), &last); err != nil {
		return last, fmt.Errorf("tail says %q: %w", out, err)
	}
	if last.Invalid != "" {
		return last, errors.New(last.Invalid)
	}
	return last, nil
}

// engine runs one of the engines, publishes n events for it, and waits until it has said of all that they are done: each
// match is one, or as many as it says.
func (s *session) engine(ctx context.Context, name, subject string, n int, done *regexp.Regexp) (err error) {
	program := filepath.Join(s.dir, name)
	if _, err := do(exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/"+name)); err != nil {
		return err
	}
	cmd := exec.Command(program, s.Client)
	var said words
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case e := <-ended:
			err = errors.Join(err, e)
		case <-time.After(10 * time.Second):
			err = errors.Join(err, errors.New("it does not stop"), cmd.Process.Kill())
		}
	}()
	if _, err := do(exec.CommandContext(ctx, s.binary, "pub", subject, `{"text": "hello"}`, "--count", fmt.Sprint(n), "--server", s.Client)); err != nil {
		return err
	}
	for {
		have := 0
		for _, m := range done.FindAllStringSubmatch(said.String(), -1) {
			one := 1
			if m[1] != "" {
				if _, err := fmt.Sscan(m[1], &one); err != nil {
					return err
				}
			}
			have += one
		}
		switch {
		case have == n:
			return nil
		case have > n || ctx.Err() != nil:
			return fmt.Errorf("%d done of %d:\n%s", have, n, said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// words is what a running program has said.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
