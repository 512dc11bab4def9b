//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// console returns the commands of a document's console blocks, each with what it should print.
func console(t *testing.T, file string) (commands []string, prints [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case strings.HasPrefix(line, "$ "):
			commands, prints = append(commands, line[2:]), append(prints, nil)
		default:
			prints[len(prints)-1] = append(prints[len(prints)-1], line)
		}
	}
	return commands, prints
}

// like matches what a command printed: … is anything, and a line of it any lines.
func like(want []string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`\A`)
	for _, line := range want {
		if line == "…" {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		re.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`) + ` *\n`)
	}
	return regexp.MustCompile(re.String() + `\z`)
}

// startedWithEvents waits until the bus of a ports file is ready, publishes some events, and returns where it is.
func startedWithEvents(ctx context.Context, t *testing.T, ports string) string {
	t.Helper()
	var at addresses
	for {
		b, err := os.ReadFile(ports)
		if err == nil && json.Unmarshal(b, &at) == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the bus did not start")
		case <-time.After(time.Millisecond):
		}
	}
	nc, err := nats.Connect(at.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := js.Publish(ctx, []string{"events.audit.login", "events.risk.limit"}[i%2], fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	return at.Client
}

// The restore drill of docs/backup.md does what it says, line by line, as somebody types it.
func TestDrillDocument(t *testing.T) {
	t.Parallel()
	commands, prints := console(t, "../../docs/backup.md")
	if len(commands) < 10 {
		t.Fatalf("there are %d commands", len(commands))
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()

	path, err := exec.LookPath("deltran-bus")
	if err != nil {
		t.Fatal(err)
	}
	ports := filepath.Join(dir, "..", "ports.json")
	bus := exec.CommandContext(ctx, path, "--store-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--ports-file", ports)
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bus.Process.Kill(); _ = bus.Wait() }()
	shell := exec.CommandContext(ctx, "bash")
	shell.Dir = dir
	shell.WaitDelay = time.Second
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	shell.Stdout, shell.Stderr = w, w
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	line := func(command string) (printed string, code string) {
		t.Helper()
		fmt.Fprintf(in, "%s\necho \x1e$?\n", command)
		var b bytes.Buffer
		for {
			text, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v\n%s", command, err, &b)
			}
			before, status, done := strings.Cut(text, "\x1e")
			b.WriteString(before)
			if done {
				return b.String(), strings.TrimSpace(status)
			}
		}
	}
	line("export NATS_URL=" + startedWithEvents(ctx, t, ports))
	for i, c := range commands {
		printed, code := line(c)
		if code != "0" || !like(prints[i]).MatchString(printed) {
			t.Errorf("$ %s\n%s(exit code %s)\nand it should print\n%s", c, printed, code, strings.Join(prints[i], "\n"))
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
}
