package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/deadletter"
	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

const lettersUsage = "STREAM/CONSUMER/SEQUENCE…"

func deadLetterCommands() []*cli.Command {
	reason := &cli.StringFlag{Name: "reason", Usage: "why nothing is done about it; `TEXT` for the audit trail"}
	dry := &cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing"}
	return []*cli.Command{
		{Name: "ls", Usage: "count them by consumer; with a consumer or a time, list them", Flags: remoteFlags(chooseFlags(false)...), Action: withRemote(listLetters)},
		{Name: "show", Usage: "print one: headers and payload as they are", ArgsUsage: lettersUsage, Flags: remoteFlags(), Action: withRemote(showLetter)},
		{Name: "redrive", Usage: "publish them once more where they came from", ArgsUsage: lettersUsage, Action: withRemote(redriveLetters), Flags: remoteFlags(append(chooseFlags(true), dry,
			&cli.Float64Flag{Name: "rate", Value: 100, Usage: "at most `N` a second; 0 for as fast as it goes"},
			&cli.BoolFlag{Name: "to-all", Usage: "although other consumers of the stream get them too"},
			&cli.BoolFlag{Name: "perhaps-twice", Usage: "also what an interrupted redrive may have sent, where the stream cannot tell any more"})...)},
		{Name: "dismiss", Usage: "erase them, and record why", ArgsUsage: lettersUsage, Flags: remoteFlags(append(chooseFlags(true), dry, reason)...), Action: withRemote(dismissLetters)},
	}
}

func chooseFlags(all bool) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "consumer", Usage: "those of `STREAM/CONSUMER`, or of all consumers of a STREAM"},
		&cli.StringFlag{Name: "since", Usage: "those given up since then: a `TIME` such as 2025-11-06T12:00:00Z, or 1h or 7d ago"},
		&cli.StringFlag{Name: "until", Usage: "those given up before that `TIME`"},
	}
	if all {
		flags = append(flags, &cli.BoolFlag{Name: "all", Usage: "all that there are"})
	}
	return flags
}

// noDeadLetterCommand is what dead-letters does without one of its commands.
func noDeadLetterCommand(c *cli.Context) error {
	var names []string
	for _, sub := range deadLetterCommands() {
		names = append(names, sub.Name)
	}
	if word := c.Args().First(); word != "" {
		return misuse("dead-letters has no command %q; it has %s", word, strings.Join(names, ", "))
	}
	return misuse("dead-letters wants to be told what to do: %s", strings.Join(names, ", "))
}

// choice is which letters the command line means.
type choice struct {
	names []string // of letters; none: all that the query chooses
	query deadletter.Query
	some  bool // whether it chooses at all
}

func chosen(c *cli.Context, now time.Time) (ch choice, err error) {
	ch.names = c.Args().Slice()
	for _, name := range ch.names {
		if strings.HasPrefix(name, "-") {
			return ch, misuse("%s stands behind a letter; write the flags first", name)
		}
	}
	if s := c.String("consumer"); s != "" {
		ch.query.Stream, ch.query.Consumer, _ = strings.Cut(s, "/")
		if strings.ContainsAny(s, ".*> ") || strings.Contains(ch.query.Consumer, "/") || ch.query.Stream == "" {
			return ch, misuse("--consumer %q is neither STREAM/CONSUMER nor STREAM", s)
		}
	}
	if ch.query.Since, err = moment(c, "since", now); err != nil {
		return ch, err
	}
	if ch.query.Until, err = moment(c, "until", now); err != nil {
		return ch, err
	}
	all := c.Bool("all")
	ch.some = len(ch.names) > 0 || all || ch.query != (deadletter.Query{})
	if len(ch.names) > 0 && (all || ch.query != (deadletter.Query{})) {
		return ch, misuse("letters are named, or chosen by --consumer, --since, --until and --all; not both")
	}
	if all && ch.query != (deadletter.Query{}) {
		return ch, misuse("letters are chosen by --consumer, --since and --until, or all of them by --all; not both")
	}
	return ch, nil
}

// moment reads a flag that is a time, or how long ago it was.
func moment(c *cli.Context, flag string, now time.Time) (time.Time, error) {
	s := c.String(flag)
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, err := config.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, misuse("--%s %q is neither a time such as 2025-11-06T12:00:00Z nor a duration such as 1h or 7d", flag, s)
}

// walk goes through the letters that are meant.
func (ch choice) walk(ctx context.Context, ls *deadletter.Letters) iter.Seq2[deadletter.Letter, error] {
	if len(ch.names) == 0 {
		return ls.Select(ctx, ch.query)
	}
	return func(yield func(deadletter.Letter, error) bool) {
		for _, name := range ch.names {
			if l, err := ls.Get(ctx, name); !yield(l, err) {
				return
			}
		}
	}
}

// letterJSON is a letter for machines; the payload only where one letter is asked for.
type letterJSON struct {
	Letter     string              `json:"letter"`
	Number     uint64              `json:"number"`
	Stream     string              `json:"stream"`
	Consumer   string              `json:"consumer"`
	Sequence   uint64              `json:"sequence"`
	Subject    string              `json:"subject,omitempty"`
	Time       time.Time           `json:"time,omitzero"`
	Cause      deadletter.Cause    `json:"cause"`
	Reason     string              `json:"reason,omitempty"`
	Deliveries uint64              `json:"deliveries"`
	GivenUp    time.Time           `json:"given_up"`
	Bytes      int                 `json:"bytes"`
	Missing    string              `json:"missing,omitempty"`
	Header     map[string][]string `json:"header,omitempty"`
	Data       *string             `json:"data,omitempty"`        // if it is text
	Base64     []byte              `json:"data_base64,omitempty"` // otherwise
}

func forMachines(l deadletter.Letter, whole bool) letterJSON {
	j := letterJSON{
		Letter: l.ID.String(), Number: l.Number, Stream: l.ID.Stream, Consumer: l.Consumer, Sequence: l.Sequence, Subject: l.Subject, Time: l.Time,
		Cause: l.Cause, Reason: l.Reason, Deliveries: l.Deliveries, GivenUp: l.GivenUp, Bytes: len(l.Data), Missing: l.Missing,
	}
	if whole {
		j.Header = l.Header
		if text := string(l.Data); utf8.Valid(l.Data) {
			j.Data = &text
		} else {
			j.Base64 = l.Data
		}
	}
	return j
}

func listLetters(c *cli.Context, r *remote) error {
	if c.NArg() > 0 {
		return misuse("dead-letters ls takes no arguments, and got %q; --consumer STREAM/CONSUMER lists a consumer's", c.Args().First())
	}
	now := time.Now()
	ch, err := chosen(c, now)
	if err != nil {
		return err
	}
	ls, err := deadletter.Open(c.Context, r.js)
	if err != nil {
		return noJetStream(err)
	}
	if !ch.some {
		return countLetters(c, r, ls, now)
	}
	out := []letterJSON{}
	for l, err := range ch.walk(c.Context, ls) {
		if err != nil {
			return err
		}
		out = append(out, forMachines(l, false))
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, out)
	}
	if len(out) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "no such dead letters")
		return nil
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "LETTER\tGIVEN UP\tCAUSE\tDELIVERIES\tBYTES\tSUBJECT\t")
	for _, l := range out {
		what := l.Subject
		if l.Missing != "" {
			what = strings.TrimSpace(what + " (no payload)")
		}
		fmt.Fprintf(tw, "%s\t%s ago\t%s\t%d\t%d\t%s\t\n", printable(l.Letter), ago(now, l.GivenUp), printable(string(l.Cause)), l.Deliveries, l.Bytes, printable(what))
	}
	return tw.Flush()
}

func countLetters(c *cli.Context, r *remote, ls *deadletter.Letters, now time.Time) error {
	sums, err := ls.Summaries(c.Context)
	if err != nil {
		return err
	}
	waiting, captured, err := deadletter.Waiting(c.Context, r.js)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, struct {
			Captured  bool                 `json:"captured"` // whether stream AUDIT takes note of what is given up
			Waiting   uint64               `json:"waiting"`
			Consumers []deadletter.Summary `json:"consumers"`
		}{captured, waiting, sums})
	}
	switch {
	case !captured:
		fmt.Fprintln(c.App.ErrWriter, "nothing makes dead letters here: stream AUDIT does not capture that a consumer gave up; see [dead_letters] of the configuration")
	case waiting > 0:
		fmt.Fprintf(c.App.ErrWriter, "%s more given up, of which stream AUDIT knows, and not stored yet\n", humanize.Comma(int64(waiting)))
	}
	if len(sums) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "no dead letters")
		return nil
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CONSUMER\tLETTERS\tOLDEST\tNEWEST\t")
	for _, s := range sums {
		fmt.Fprintf(tw, "%s/%s\t%s\t%s ago\t%s ago\t\n", printable(s.Stream), printable(s.Consumer), humanize.Comma(int64(s.Letters)), ago(now, s.Oldest), ago(now, s.Newest))
	}
	return tw.Flush()
}

func showLetter(c *cli.Context, r *remote) error {
	ch, err := chosen(c, time.Now())
	if err != nil {
		return err
	}
	if len(ch.names) != 1 {
		return misuse("dead-letters show wants one letter: %s, or its number in DEADLETTERS", strings.TrimSuffix(lettersUsage, "…"))
	}
	ls, err := deadletter.Open(c.Context, r.js)
	if err != nil {
		return noJetStream(err)
	}
	l, err := ls.Get(c.Context, ch.names[0])
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, forMachines(l, true))
	}
	out, isFile := c.App.Writer.(*os.File)
	return printLetter(c.App.Writer, l, isFile && term.IsTerminal(int(out.Fd())))
}

// printLetter prints the payload byte for byte, unless that would go to a terminal.
func printLetter(w io.Writer, l deadletter.Letter, terminal bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", name, printable(value))
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	row("letter", fmt.Sprintf("%s, number %d", l.ID, l.Number))
	row("given up", fmt.Sprintf("%s, %s, delivered %s", at(l.GivenUp), l.Cause, count(int(l.Deliveries), "time")))
	row("reason", l.Reason)
	row("subject", l.Subject)
	row("stored", at(l.Time))
	row("missing", l.Missing)
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		for _, v := range l.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", printable(name), printable(v))
		}
	}
	if len(l.Header) > 0 {
		fmt.Fprintln(w)
	}
	data := string(l.Data)
	if terminal {
		data = printableText(data)
	}
	if _, err := io.WriteString(w, data); err != nil {
		return err
	}
	if n := len(l.Data); n > 0 && l.Data[n-1] != '\n' {
		fmt.Fprintln(w)
	}
	return nil
}

// letterOverview is what status says of dead letters.
type letterOverview struct {
	Letters uint64    `json:"letters"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Waiting uint64    `json:"waiting"` // given up, and not in DEADLETTERS yet
}

// lettersIn is nil where none are made.
func lettersIn(have bootstrap.Observed) *letterOverview {
	s := have.Streams[deadletter.Stream]
	var con *bootstrap.Consumer
	if audit := have.Streams[deadletter.Audit]; audit != nil {
		con = audit.Consumers[deadletter.Durable]
	}
	if s == nil && con == nil {
		return nil
	}
	o := &letterOverview{}
	if s != nil && s.State.Msgs > 0 {
		o.Letters, o.Oldest = s.State.Msgs, s.State.FirstTime
	}
	if con != nil {
		o.Waiting = con.Info.NumPending + uint64(con.Info.NumAckPending)
	}
	return o
}

// write is a line for people, if there is anything to say.
func (o *letterOverview) write(w io.Writer, now time.Time) (err error) {
	if o == nil || o.Letters+o.Waiting == 0 {
		return nil
	}
	line := "\ndead letters: " + humanize.Comma(int64(o.Letters))
	if o.Letters > 0 {
		line += ", the oldest " + ago(now, o.Oldest) + " old"
	}
	if o.Waiting > 0 {
		line += "; " + humanize.Comma(int64(o.Waiting)) + " not stored yet"
	}
	_, err = fmt.Fprintln(w, line+" · deltran-bus dead-letters ls")
	return err
}
