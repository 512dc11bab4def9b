//go:build unix

package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write what the program prints now into the scripts")

// TestMain makes the test binary the program itself when a script calls deltran-bus.
func TestMain(m *testing.M) {
	testscript.Main(tight{m}, map[string]func(){"deltran-bus": main})
}

// tight fails a run that leaves goroutines behind.
type tight struct{ m *testing.M }

func (t tight) Run() int {
	code := t.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return code
}

// TestScripts runs testdata/script. Beside testscript's own commands a script has these; where a command starts the
// program, NAME=VALUE words in front are its environment, and <FILE at the end is its standard input:
//
//	exits CODE [NAME=VALUE…] ARGS…     run deltran-bus, which has to end with that exit code
//	refused CODE [NAME=VALUE…] ARGS…   the same, and it prints nothing on stdout and changes nothing in $WORK
//	launch [NAME=VALUE…] ARGS…         start a bus in the background, on free ports
//	ready                              wait until it is; then $CLIENT, $ADDR, $MONITOR and $MONITOR_ADDR say where
//	start …                            launch and ready
//	logged REGEXP                      wait until its stderr has a line like that, since the last time it was asked
//	signal NAME                        send it a signal, such as TERM
//	ended CODE                         wait for its end with that exit code (-TERM: killed by a signal)
//	halt                               signal TERM and ended 0
//	over                               what runs in the background has to end soon
//
//	nats-server DIR, nats-server stop  a stock nats-server in the test's process, its store in DIR; off: without JetStream
//	create FILE.json                   make a stream as FILE.json says
//	delete STREAM                      delete it
//	publish SUBJECT N                  publish N messages, each acknowledged by JetStream; as in a Go string, and so REASON
//	messages STREAM N                  the stream has to hold N messages
//	consumers STREAM N                 wait until the stream has N consumers
//	giveup STREAM CONSUMER N [REASON]  terminate N messages, and wait for their dead letters
//	aged STREAM DURATION               wait until its newest message is that old
//	denied                             nobody comes in without logging in
//	refuses publish|subscribe SUBJECT  the server does not permit it
//	gone, stays                        wait until the client that is held has been sent away; it must not have been
//
//	http METHOD URL CODE               the answer's body becomes stdout; with $TOKEN, and trust in tls/ca.pem
//	nowhere TEXT                       the text is on none of the monitor's pages
//	json FILE PATH VALUE               JSON has to hold the value at a path such as streams.0.name
//	snapshot PATH, unchanged PATH      remember a file or folder, compare it byte by byte
//	hold port, hold lock DIR           keep what a bus wants; $PORT is the port
//	hold client [CERT KEY CA]          stay connected, over TLS with that certificate
//	certificates                       write ca.pem, server.pem, server-key.pem, other-key.pem
//	fifo PATH                          make a file that keeps its reader waiting,
//	waits PATH, feed FILE              until there is one that waits, until it is given FILE's content
//	volume DIR SIZE                    mount memory of that size (root, Linux)
//	fill FILE                          be another program that takes what is left of its volume
//	declined SUBJECT CODE              publish until JetStream answers with that error
//	failing STREAM ERROR, mended       have the bus's writes to the stream fail, such as with EIO (strace); no longer
//	cut PATH SIZE                      cut a file
//	bytes FILE TEXT [TIMES]            write bytes that a script cannot hold; TEXT is what stands in a Go string
//
// What the program printed is put into a form that stays the same from run to run before a script sees it: steady says
// how. The clients connect to $NATS_URL, or else to $CLIENT.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			if e.Getenv("GORACE") == "" {
				e.Setenv("GORACE", "atexit_sleep_ms=10") // a second otherwise, for each of some hundred processes
			}
			w := &world{vars: e.Vars, dir: e.WorkDir, snapshots: map[string]string{}}
			e.Values[worldKey{}] = w
			e.Setenv("NATS_VERSION", natsserver.VERSION)
			e.Defer(w.close)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Getuid() == 0, nil
			case "strace":
				return canTrace(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: commands(),
	})
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	all := map[string]command{}
	for _, group := range []map[string]func(*script, []string){programCommands, natsCommands, fileCommands, diskCommands} {
		for name, do := range group {
			all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("unsupported: ! %s", name)
				}
				do(&script{ts, ts.Value(worldKey{}).(*world)}, args)
			}
		}
	}
	return all
}

type worldKey struct{}

// world is what one script has started and holds.
type world struct {
	vars      []string // of the environment, as testscript made it
	dir       string   // $WORK
	bus       *process
	known     map[string]string // addresses, and what they are shown as
	stock     *stock
	held      []func()
	client    *nats.Conn      // the client that is held
	away      <-chan struct{} // closed when it is not connected any more
	mend      func()          // of what fails
	writer    *os.File        // the other end of the fifo that somebody waits for
	snapshots map[string]string
}

// close ends what the script left.
func (w *world) close() {
	if w.mend != nil {
		w.mend()
	}
	if w.bus != nil {
		w.bus.kill()
	}
	if w.stock != nil {
		w.stock.stop()
	}
	for _, release := range w.held {
		release()
	}
}

// script is a script with its world.
type script struct {
	*testscript.TestScript
	*world
}

func (s *script) want(args []string, n int, usage string) {
	if len(args) < n {
		s.Fatalf("usage: %s", usage)
	}
}

var changing = []struct {
	form *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`(?m)^time=\S+ `), ``},
	{regexp.MustCompile(`"time":"[^"]*",`), ``},
	{regexp.MustCompile(`(?m)^deltran-bus \S+, nats-server \S+, go\S+`), `deltran-bus V, nats-server V, goV`},
	{regexp.MustCompile(`ready in \d+ ms`), `ready in N ms`},
	{regexp.MustCompile(`[\d.]+ [KMGT]iB (free|of it)`), `N GiB $1`},
	{regexp.MustCompile(`process \d+, since \S+ [\d:]+`), `process PID, since THEN`},
	{regexp.MustCompile(`\\"[0-9a-f]{16}\\"`), `\"CHECKSUM\"`},
	{regexp.MustCompile(`the oldest \S+ old`), `the oldest AGE old`},
}

// steady replaces what differs between two runs: folders, ports, times, versions.
func (w *world) steady(s string) string {
	for addr, name := range w.known {
		s = strings.ReplaceAll(s, addr, name)
	}
	s = strings.ReplaceAll(s, w.dir, "$WORK")
	for _, c := range changing {
		s = c.form.ReplaceAllString(s, c.to)
	}
	return s
}
