//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/event"
)

// pub went on without a word when the bus went away, for ever, and the first Ctrl-C did not end it.
func TestPubWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	bus := &killed{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	deaf := filepath.Join(bus.dir, "deaf.toml") // what is stored there is not answered
	if err := os.WriteFile(deaf, []byte("[[streams]]\nname = \"DEAF\"\nsubjects = [\"events.deaf.*\"]\nno_ack = true\nmax_bytes = \"1MB\""), 0o600); err != nil {
		t.Fatal(err)
	}
	bus.args = []string{"--config", deaf}
	bus.start()
	defer func() { bus.kill() }()

	t.Run("it is started again in time", func(t *testing.T) {
		p := startPub(t, bus, "events.risk.x", "--timeout", "1m")
		p.publish(`{"n": 1}`)
		p.await(p.stdout, `^RISK #1  `)
		bus.kill()
		p.await(p.stderr, `^deltran-bus: the connection is lost; waiting for another, 1m0s at most \(--timeout\)$`)
		p.publish(`{"n": 2}`)
		p.publish(`{"n": 3}`)
		bus.start()
		p.await(p.stderr, `^deltran-bus: connected again, and going on$`)
		p.await(p.stdout, `^RISK #2  `)
		p.await(p.stdout, `^RISK #3  `)
		p.stdin.Close()
		p.ends(0)
	})
	t.Run("it is not", func(t *testing.T) {
		p := startPub(t, bus, "events.risk.x", "--timeout", "1s")
		p.publish(`{"n": 4}`)
		p.await(p.stdout, `^RISK #4  `)
		bus.kill()
		p.publish(`{"n": 5}`)
		p.await(p.stderr, `^deltran-bus: the connection is lost, and there was no other for 1s \(--timeout\); 1 event is stored`)
		p.ends(1)
		bus.start()
	})
	t.Run("interrupted without a connection", func(t *testing.T) {
		p := startPub(t, bus, "events.risk.x", "--timeout", "1m")
		p.publish(`{"n": 6}`)
		p.await(p.stdout, `^RISK #\d  `)
		bus.kill()
		p.await(p.stderr, `^deltran-bus: the connection is lost`)
		p.publish(`{"n": 7}`)
		p.interrupt()
		p.await(p.stderr, `^deltran-bus: interrupted; 1 event is stored$`)
		p.ends(1)
		bus.start()
	})
	t.Run("interrupted without an answer", func(t *testing.T) {
		p := startPub(t, bus, "events.deaf.x")
		p.publish(`{"n": 8}`)
		js := bus.jetStream()
		defer js.Conn().Close()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			st, err := js.Stream(t.Context(), "DEAF")
			if err != nil {
				t.Fatal(err)
			}
			if st.CachedInfo().State.Msgs == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not come")
			}
		}
		p.interrupt()
		p.await(p.stderr, `^deltran-bus: interrupted; 0 events are stored; of 1 more it is not known, the first is event 1, line 1: [0-9a-f-]{36}; published`)
		p.ends(1)
	})
}

// pubbing is pub that reads its standard input.
type pubbing struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *bufio.Scanner
	giveUp         *time.Timer
}

func startPub(t *testing.T, bus *killed, args ...string) *pubbing {
	t.Helper()
	p := &pubbing{t: t, cmd: exec.Command("deltran-bus", append([]string{"pub", "--server", bus.at.Client}, args...)...)}
	var errs [3]error
	var stdout, stderr io.Reader
	p.stdin, errs[0] = p.cmd.StdinPipe()
	stdout, errs[1] = p.cmd.StdoutPipe()
	stderr, errs[2] = p.cmd.StderrPipe()
	for _, err := range append(errs[:], p.cmd.Start()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	p.stdout, p.stderr = bufio.NewScanner(stdout), bufio.NewScanner(stderr)
	p.giveUp = time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() }) // and what waits for it fails
	return p
}

func (p *pubbing) publish(data string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, data); err != nil {
		p.t.Fatal(err)
	}
}

// await reads lines until one matches.
func (p *pubbing) await(from *bufio.Scanner, line string) {
	p.t.Helper()
	re := regexp.MustCompile(line)
	var said strings.Builder
	for from.Scan() {
		if re.MatchString(from.Text()) {
			return
		}
		said.WriteString(from.Text() + "\n")
	}
	p.t.Fatalf("no line like %s:\n%s", line, said.String())
}

func (p *pubbing) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pubbing) ends(code int) {
	p.t.Helper()
	_ = p.cmd.Wait()
	p.giveUp.Stop()
	if c := p.cmd.ProcessState.ExitCode(); c != code {
		p.t.Errorf("exit code %d, not %d", c, code)
	}
}

// What was under way behind an event that failed may be stored too: whoever goes on behind that event has to know.
func TestPubVerdict(t *testing.T) {
	t.Parallel()
	full := misfit{place{number: 3, line: 4}, errors.New("ID: it is full")}
	for _, c := range []struct {
		o    outcome
		why  error
		want string
	}{
		{outcome{before: 5}, nil, "<nil>"},
		{outcome{}, full, "event 3, line 4: ID: it is full"},
		{outcome{before: 2}, full, "event 3, line 4: ID: it is full; 2 events before it are stored"},
		{outcome{failed: full, behind: 1, last: place{number: 7}}, context.Canceled,
			"event 3, line 4: ID: it is full; 0 events before it are stored; 1 event behind it was under way already, and is stored too, the last is event 7"},
		{outcome{failed: full, before: 1, behind: 8, last: place{number: 2, line: 2, time: 4, times: 9}}, nil,
			"event 3, line 4: ID: it is full; 1 event before it is stored; 8 events behind it were under way already, and are stored too, the last is event 2, line 2, time 4 of 9"},
		{outcome{before: 1, uncertain: 3, first: sent{place{number: 2}, event.Event{ID: "A"}, nil}}, errors.New("the connection is lost"),
			"the connection is lost; 1 event is stored; of 3 more it is not known, the first is event 2: A; published with the same event_id within the stream's duplicate_window it is stored once"},
		{outcome{before: 7}, context.Canceled, "interrupted; 7 events are stored"},
	} {
		if got := fmt.Sprint(c.o.verdict(c.why)); got != c.want {
			t.Errorf("%s\nnot\n%s", got, c.want)
		}
	}
}
