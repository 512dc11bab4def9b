// Command deltran-bus is the event bus of a payments platform in one binary: nats-server with JetStream inside, every
// declared stream and consumer in place before the first client can connect.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/urfave/cli/v2"
)

// begun is when the process came to us: what "ready in" counts from.
var begun = time.Now()

// Exit codes, after sysexits(3) where it has one. 2 is a Go panic's.
const (
	exitOK        = 0
	exitFailed    = 1  // what was asked for did not work
	exitDifferent = 3  // plan, apply: there are differences left; backup verify, audit verify: something is wrong
	exitUsage     = 64 // the command line is wrong
	exitConfig    = 78 // the configuration is wrong
)

// errDifferent ends a command whose answer is that there are differences; the answer is printed already.
var errDifferent = errors.New("there are differences")

// usageError is a command line that nobody understands.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	log.SetOutput(io.Discard) // net/http talks there of what it returns as errors anyhow
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, release := untilSignal(ctx)
	defer release()
	app := newApp(stdin, stdout, stderr)
	return report(app.RunContext(ctx, flagsFirst(app, args)), stderr)
}

// untilSignal is signal.NotifyContext, but that when the context has ended nobody catches signals any more: the second
// one kills, however soon it comes.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-caught:
		case <-ctx.Done():
		}
		signal.Stop(caught)
		cancel()
	}()
	return ctx, cancel
}

// report prints an error, if it is not an answer, and says how to exit.
func report(err error, stderr io.Writer) int {
	var problems config.Problems
	var usage usageError
	if coder := cli.ExitCoder(nil); errors.As(err, &coder) { // only cli itself: help for a command that there is not
		err = onUsageError(nil, err, false)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDifferent):
		return exitDifferent
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "deltran-bus: interrupted")
		return exitFailed
	case errors.As(err, &problems):
		fmt.Fprintf(stderr, "%v\ndeltran-bus: %s in the configuration; nothing was started or changed\n", problems, count(len(problems), "mistake"))
		return exitConfig
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "deltran-bus: %s\nsee deltran-bus --help\n", printableText(err.Error()))
		return exitUsage
	}
	fmt.Fprintf(stderr, "deltran-bus: %s\n", printableText(err.Error())) // it may quote what somebody published
	return exitFailed
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:  "deltran-bus",
		Usage: "the event bus of a payments platform, in one binary",
		Description: `Without a command it serves. Flags can also be set in the environment, as DELTRAN_BUS_ and the flag's name:
DELTRAN_BUS_STORE_DIR for --store-dir. A flag wins over the environment, the environment over the file, the
file over what is built in.

Exit codes: 0 ok, 1 failed, 3 differences or problems found (plan, apply, doctor, backup verify, audit verify), 64 wrong usage, 78 wrong configuration.`,
		Version: version(),
		Reader:  stdin, Writer: stdout, ErrWriter: stderr,
		ExitErrHandler: func(*cli.Context, error) {},
		Flags:          serveFlags(),
		Action:         serve,
		Commands: []*cli.Command{
			{Name: "serve", Usage: "run the bus (also without a command)", Flags: serveFlags(), Action: serve},
			{Name: "check", Usage: "judge a configuration without starting anything", Flags: configFlags(), Action: check},
			{Name: "config", Usage: "print the configuration in force", Flags: configFlags(), Action: printConfig},
			{Name: "plan", Usage: "show what differs between the declaration and what is there", Flags: planFlags(), Action: withRemote(plan)},
			{Name: "apply", Usage: "make what is there match the declaration", Flags: applyFlags(), Action: withRemote(apply)},
			{Name: "status", Usage: "show streams and consumers: what is in them and who lags", Flags: statusFlags(), Action: withRemote(status)},
			{Name: "dead-letters", Usage: "what consumers gave up on: shown, sent again, dismissed", ArgsUsage: "COMMAND", Subcommands: deadLetterCommands(), Action: noDeadLetterCommand},
			{Name: "audit", Usage: "what happened to the bus: who did what, and who was refused", ArgsUsage: "[verify]", Description: auditAbout, Flags: auditFlags(), Action: noArguments(withRemote(auditList)), Subcommands: auditCommands()},
			{Name: "doctor", Usage: "look for what is wrong, and say how to mend it", Flags: doctorFlags(), Action: doctor},
			{Name: "permissions", Usage: "show what each service may do, and why", ArgsUsage: "[SERVICE]", Flags: permissionsFlags(), Action: permissions},
			{Name: "pub", Usage: "publish events", ArgsUsage: "SUBJECT [DATA]", Description: pubAbout, Flags: pubFlags(), Action: pub},
			{Name: "tail", Usage: "follow events as they are stored", ArgsUsage: "[STREAM|SUBJECT]…", Description: tailAbout, Flags: tailFlags(), Action: tail},
			{Name: "schema", Usage: "print the JSON Schema of an event", Action: printSchema},
			{Name: "backup", Usage: "archives of streams: written, proven, restored", ArgsUsage: "COMMAND", Subcommands: backupCommands(), Action: noBackupCommand},
			{Name: "hash-password", Usage: "print the hash of a password, for a service", ArgsUsage: " ", Action: hashPassword},
			{Name: "tls", Usage: "make certificates: tls init", ArgsUsage: "init", HideHelpCommand: true, Action: needsWord, Subcommands: []*cli.Command{
				{Name: "init", Usage: "make an authority, and certificates for the bus and its clients", Flags: tlsInitFlags(), Action: noArguments(tlsInit)},
			}},
			{Name: "healthcheck", Usage: "exit 0 when the bus is ready", Flags: healthFlags(), Action: healthcheck},
			{Name: "accept-loss", Usage: "let the bus go on without what a stream has lost", ArgsUsage: "STREAM…", Flags: acceptFlags(), Action: acceptLoss},
			{Name: "version", Usage: "print the versions", Flags: []cli.Flag{jsonFlag}, Action: printVersion},
		},
	}
	app.OnUsageError = onUsageError
	for _, c := range app.Commands {
		c.OnUsageError = onUsageError
		for _, sub := range c.Subcommands {
			sub.OnUsageError = onUsageError
			sub.HideHelpCommand = true // "help" may be a stream
		}
		if c.ArgsUsage == "" {
			c.Action = noArguments(c.Action)
		}
	}
	app.Action = noArguments(app.Action)
	return app
}

// flagWords is what Go's flag package says, and how we say it.
var flagWords = []struct {
	form *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`^flag provided but not defined: -+(.*)$`), `there is no flag --$1`},
	{regexp.MustCompile(`^flag needs an argument: -+(.*)$`), `--$1 needs a value`},
	{regexp.MustCompile(`^invalid boolean value (".*") for -+(\S+): .*$`), `--$2 $1 is neither true nor false`},
	{regexp.MustCompile(`^invalid value (".*") for flag -+(\S+): parse error$`), `--$2 $1 is not a duration such as "10s"`},
	{regexp.MustCompile(`^No help topic for '(.*)'$`), `there is no command "$1"`},
}

func onUsageError(_ *cli.Context, err error, _ bool) error {
	s := err.Error()
	for _, w := range flagWords {
		s = w.form.ReplaceAllString(s, w.to)
	}
	return usageError{errors.New(s)}
}

// needsWord refuses a command that does nothing by itself.
func needsWord(c *cli.Context) error {
	var names []string
	for _, sub := range c.Command.Subcommands {
		names = append(names, c.Command.Name+" "+sub.Name)
	}
	if c.NArg() > 0 {
		return misuse("there is no %s %q; there is %s", c.Command.Name, c.Args().First(), strings.Join(names, ", "))
	}
	return misuse("%s does nothing by itself; there is %s", c.Command.Name, strings.Join(names, ", "))
}

// noArguments refuses words that no command takes: a mistyped command must not start a bus.
func noArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() == 0 {
			return action(c)
		}
		word := c.Args().First()
		if c.Command == nil || c.Command.Name != "" && c.Command.Name != c.App.Name {
			return misuse("%s takes no arguments, and got %q", c.Command.Name, word)
		}
		hint := ""
		if s := cli.SuggestCommand(c.App.Commands, word); s != "" {
			hint = "; " + strings.Replace(s, "Did", "did", 1)
		}
		return misuse("there is no command %q%s", word, hint)
	}
}
