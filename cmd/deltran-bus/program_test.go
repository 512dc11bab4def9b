//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take: only a failure takes as long.
const patience = 8 * time.Second

var programCommands = map[string]func(*script, []string){
	"exits":     (*script).exits,
	"refused":   (*script).refused,
	"launch":    (*script).launch,
	"ready":     func(s *script, _ []string) { s.ready() },
	"start":     func(s *script, args []string) { s.launch(args); s.ready() },
	"logged":    (*script).logged,
	"monitored": (*script).monitored,
	"signal":    (*script).signal,
	"ended":     (*script).ended,
	"over":      (*script).over,
	"halt":      func(s *script, _ []string) { s.signal([]string{"TERM"}); s.ended([]string{"0"}) },
}

// program is deltran-bus with the words of a script: environment, arguments, standard input.
func (s *script) program(ctx context.Context, words []string, env ...string) *exec.Cmd {
	env = append(append([]string{}, s.vars...), env...)
	env = append(env, "NATS_URL="+s.Getenv("NATS_URL"), "DELTRAN_BUS_CONFIG="+s.Getenv("DELTRAN_BUS_CONFIG"))
	for len(words) > 0 {
		if name, _, ok := strings.Cut(words[0], "="); !ok || strings.HasPrefix(name, "-") {
			break
		}
		env, words = append(env, words[0]), words[1:]
	}
	stdin := ""
	if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "<") {
		stdin, words = s.ReadFile(words[n-1][1:]), words[:n-1]
	}
	path, err := exec.LookPath("deltran-bus")
	s.Check(err)
	cmd := exec.CommandContext(ctx, path, words...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.MkAbs("."), env, strings.NewReader(stdin)
	return cmd
}

func (s *script) exits(args []string) {
	s.want(args, 1, "exits CODE [NAME=VALUE…] ARGS…")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := s.program(ctx, args[1:])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	fmt.Fprint(s.Stdout(), s.steady(stdout.String()))
	fmt.Fprint(s.Stderr(), s.steady(stderr.String()))
	if ctx.Err() != nil {
		s.Fatalf("it did not end")
	}
	s.sameCode(cmd, err, args[0])
}

func (s *script) refused(args []string) {
	before := tree(s.dir)
	s.exits(args)
	if after := tree(s.dir); after != before {
		s.Fatalf("it left something behind or changed something; before:\n%safter:\n%s", before, after)
	}
	if s.Stdout().(fmt.Stringer).String() != "" {
		s.Fatalf("it printed on stdout")
	}
}

// sameCode fails the script if the program, which ended with err, ended otherwise than wanted.
func (s *script) sameCode(cmd *exec.Cmd, err error, want string) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatalf("%v", err)
	}
	code := strconv.Itoa(cmd.ProcessState.ExitCode())
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signaled() {
		code = "-" + strings.TrimPrefix(unix.SignalName(st.Signal()), "SIG")
	}
	if code != want {
		s.Fatalf("exit code %s, not %s", code, want)
	}
}

// process is a bus in the background.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *output
	ports          string        // its ports file
	seen           int           // how much of stderr logged has looked at
	done           chan struct{} // closed when it has ended
	err            error         // how; after done
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// output keeps what a process prints, and tells whoever waits for more.
type output struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // closed when there is more
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.more)
	o.more = make(chan struct{})
	return len(b), nil
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text), o.more
}

func (s *script) launch(args []string) {
	if s.bus != nil {
		s.Fatalf("there is a bus already")
	}
	p := &process{stdout: newOutput(), stderr: newOutput(), done: make(chan struct{}), ports: s.dir + "/.tmp/ports.json"}
	p.cmd = s.program(context.Background(), args, "DELTRAN_BUS_LISTEN=127.0.0.1:0", "DELTRAN_BUS_MONITOR=127.0.0.1:0", "DELTRAN_BUS_PORTS_FILE="+p.ports)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	s.Check(p.cmd.Start())
	go func() { defer close(p.done); p.err = p.cmd.Wait() }()
	s.bus = p
}

// await waits until the bus has printed what matches on stderr, and returns where the match ends.
func (s *script) await(what *regexp.Regexp, from int) int {
	giveUp := time.NewTimer(patience)
	defer giveUp.Stop()
	for ended := false; ; {
		text, more := s.bus.stderr.read()
		if m := what.FindStringIndex(text[from:]); m != nil {
			return from + m[1]
		}
		why := ""
		select {
		case <-more:
		case <-s.bus.done:
			if ended {
				why = "it ended"
			}
			ended = true // it may have printed that last
		case <-giveUp.C:
			why = "it did not come"
		}
		if why != "" {
			s.Fatalf("waiting for %q on stderr: %s\n%s", what, why, s.steady(text))
		}
	}
}

var banner = regexp.MustCompile(`ready in \d+ ms[\s\S]*\n  try [\s\S]*\n\n`)

// ready waits for the banner, which comes last.
func (s *script) ready() {
	s.bus.seen = s.await(banner, 0)
	b, err := os.ReadFile(s.bus.ports)
	s.Check(err)
	var at addresses
	s.Check(json.Unmarshal(b, &at))
	u, err := url.Parse(at.Client)
	s.Check(err)
	s.Setenv("CLIENT", at.Client)
	s.Setenv("ADDR", u.Host)
	s.Setenv("MONITOR", at.Monitor)
	s.known = map[string]string{u.Host: "ADDR"}
	if at.Monitor != "" {
		_, host, _ := strings.Cut(at.Monitor, "://")
		s.Setenv("MONITOR_ADDR", host)
		s.known[host] = "MONITOR"
	}
	s.show()
}

// show makes what the bus has printed the script's stdout and stderr.
func (s *script) show() {
	stdout, _ := s.bus.stdout.read()
	stderr, _ := s.bus.stderr.read()
	fmt.Fprint(s.Stdout(), s.steady(stdout))
	fmt.Fprint(s.Stderr(), s.steady(stderr))
}

func (s *script) logged(args []string) {
	s.want(args, 1, "logged REGEXP")
	s.bus.seen = s.await(regexp.MustCompile("(?m)"+args[0]), s.bus.seen)
	s.show()
}

// monitored waits until a bus that is not ready says where it monitors.
func (s *script) monitored([]string) {
	s.await(monitorAt, 0)
	text, _ := s.bus.stderr.read()
	at := monitorAt.FindStringSubmatch(text)[1]
	s.Setenv("MONITOR", "http://"+at)
	s.Setenv("MONITOR_ADDR", at)
}

var monitorAt = regexp.MustCompile(`monitor=http://(\S+)`)

func (s *script) signal(args []string) {
	s.want(args, 1, "signal NAME")
	sig := unix.SignalNum("SIG" + args[0])
	if sig == 0 {
		s.Fatalf("there is no signal %s", args[0])
	}
	if err := s.bus.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.Fatalf("%v", err)
	}
}

func (s *script) ended(args []string) {
	s.want(args, 1, "ended CODE")
	p := s.bus
	select {
	case <-p.done:
	case <-time.After(patience):
		s.show()
		s.Fatalf("it did not end")
	}
	s.show()
	s.bus = nil
	s.sameCode(p.cmd, p.err, args[0])
}

// over waits until whatever runs in the background has ended, and not for long.
func (s *script) over(args []string) {
	s.want(args, 0, "over")
	const soon = 5 * time.Second
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(soon)
	for _, cmd := range s.BackgroundCmds() {
		for !errors.Is(cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			select {
			case <-tick.C:
			case <-giveUp:
				s.Fatalf("%s has not ended within %s", strings.Join(cmd.Args, " "), soon)
			}
		}
	}
}
