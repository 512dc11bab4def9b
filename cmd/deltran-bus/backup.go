package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deltran/deltran-bus/audit"
	"github.com/deltran/deltran-bus/backup"
	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/server"
	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
)

var tmpFlag = &cli.StringFlag{Name: "tmp", Usage: "`DIR` in which streams are put together or rebuilt (default: beside the file, $TMPDIR)"}

func backupCommands() []*cli.Command {
	return []*cli.Command{
		{Name: "create", Usage: "write streams into one archive, publishers going on; without a STREAM all, - is stdout", ArgsUsage: "[STREAM…] FILE.tar.gz|-",
			Flags: remoteFlags(&cli.BoolFlag{Name: "allow-damaged", Usage: "also where messages cannot be read; which, the archive says"},
				&cli.StringFlag{Name: "rate", Usage: "read at most `SIZE` a second while somebody publishes; 0 is as much as comes", Value: config.FormatSize(backup.DefaultRate)}, tmpFlag),
			Action: judged(createArgs, withRemote(backupCreate))},
		{Name: "verify", Usage: "hold an archive against its checksums, counts and digests", ArgsUsage: "FILE|-",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "deep", Usage: "also rebuild every stream in a throwaway bus, and compare every message"}, tmpFlag, jsonFlag},
			Action: judged(oneFile, backupVerify)},
		{Name: "restore", Usage: "bring streams back, all or nothing", ArgsUsage: "FILE|-",
			Flags: remoteFlags(
				&cli.StringSliceFlag{Name: "stream", Usage: "restore only `STREAM`; may be given again"},
				&cli.StringFlag{Name: "as", Usage: "give the one stream the `NAME`"},
				&cli.BoolFlag{Name: "replace", Usage: "put streams in the place of those that are there, which are kept in an archive first"},
				&cli.BoolFlag{Name: "expire", Usage: "keep max_age as it was, although messages expire on arrival"},
				tmpFlag),
			Action: judged(oneFile, withRemote(backupRestore))},
		{Name: "ls", Usage: "list the archives in a folder (default: [backup] dir)", ArgsUsage: "[DIR]",
			Flags: []cli.Flag{configFlag, jsonFlag}, Action: backupList},
	}
}

// noBackupCommand is what backup does without one of its commands.
func noBackupCommand(c *cli.Context) error {
	var names []string
	for _, sub := range backupCommands() {
		names = append(names, sub.Name)
	}
	if word := c.Args().First(); word != "" {
		return misuse("backup has no command %q; it has %s", word, strings.Join(names, ", "))
	}
	return misuse("backup wants to be told what to do: %s", strings.Join(names, ", "))
}

// judged runs a command if its arguments are right: before it looks for a bus.
func judged(args func(*cli.Context) error, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := args(c); err != nil {
			return err
		}
		return action(c)
	}
}

func oneFile(c *cli.Context) error {
	if c.NArg() != 1 {
		return misuse("backup %s wants one file, and got %d", c.Command.Name, c.NArg())
	}
	return nil
}

func createArgs(c *cli.Context) error {
	if c.NArg() == 0 {
		return misuse("backup create wants a file: deltran-bus backup create [STREAM…] FILE.tar.gz, or - for stdout")
	}
	file := c.Args().Get(c.NArg() - 1)
	if file != "-" && !strings.HasSuffix(file, ".tar.gz") && !strings.HasSuffix(file, ".tgz") {
		return misuse("backup create wants a file at the end that is called something.tar.gz, or -; it got %q", file)
	}
	if file == "-" && terminal(c.App.Writer) {
		return misuse("an archive is nothing for a terminal; send stdout into a file or another program")
	}
	_, err := createRate(c)
	return err
}

// createRate is what --rate says, in bytes a second.
func createRate(c *cli.Context) (int64, error) {
	rate, err := config.ParseSize(c.String("rate"))
	if err != nil || rate != 0 && rate < backup.LeastRate {
		return 0, misuse("--rate %q is not how much to read in a second; write a size from %s, such as 16MB, or 0 for as much as comes", c.String("rate"), config.FormatSize(backup.LeastRate))
	}
	return rate, nil
}

// created is what backup create --json prints.
type created struct {
	File string `json:"file"`
	Size int64  `json:"size"`
	*backup.Manifest
}

func backupCreate(c *cli.Context, r *remote) error {
	args := c.Args().Slice()
	streams, file := args[:len(args)-1], args[len(args)-1]
	rate, err := createRate(c)
	if err != nil {
		return err
	}
	standAside()
	progress, done := progressLine(c)
	o := backup.CreateOptions{Streams: streams, Version: version(), Damaged: c.Bool("allow-damaged"), Rate: rate, Temp: c.String("tmp"), Wait: c.Duration("timeout"), Progress: progress}
	var out created
	answer := c.App.Writer
	if file == "-" {
		n := counting{w: c.App.Writer}
		out.Manifest, err = backup.Create(c.Context, r.nc, &n, o)
		out.Size, answer = n.n, c.App.ErrWriter
	} else {
		out.Manifest, out.Size, err = backup.CreateFile(c.Context, r.nc, file, o)
	}
	done()
	if errors.Is(err, backup.ErrDamaged) {
		err = fmt.Errorf("%w; nothing was written. --allow-damaged backs up what can be read", err)
	}
	if err != nil {
		return err
	}
	out.File = file
	if c.Bool("json") {
		return writeJSON(answer, out)
	}
	if err := writeStreams(answer, out.Streams); err != nil {
		return err
	}
	_, err = fmt.Fprintf(answer, "%s as of %s in %s: %s, %s\n", summary(out.Manifest), out.Moment.Format(time.RFC3339), file, humanize.IBytes(uint64(out.Size)), took(out.Finished.Sub(out.Moment)))
	fmt.Fprintln(c.App.ErrWriter, "\nit is not encrypted, whatever the store: keep it where only those come who may read every message")
	return err
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func backupVerify(c *cli.Context) error {
	file := c.Args().First()
	standAside()
	defer thrifty()()
	progress, done := progressLine(c)
	verify := backup.Verify
	if c.Bool("deep") {
		verify = backup.VerifyDeep
	}
	m, err := verify(c.Context, file, backup.VerifyOptions{Stdin: c.App.Reader, Temp: c.String("tmp"), Free: freeIn, Progress: progress})
	done()
	if errors.Is(err, backup.ErrBad) {
		if !c.Bool("json") {
			fmt.Fprintf(c.App.Writer, "%s: %v\n", shown(file), err)
		} else if err := writeJSON(c.App.Writer, map[string]string{"file": shown(file), "problem": err.Error()}); err != nil {
			return err
		}
		return errDifferent
	}
	if err != nil {
		return plainFile(err)
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, m)
	} else if err = writeStreams(c.App.Writer, m.Streams); err == nil {
		_, err = fmt.Fprintf(c.App.Writer, "%s: %s\n", shown(file), verdict(m, c.Bool("deep")))
	}
	if err == nil && len(m.Damaged()) > 0 {
		return errDifferent
	}
	return err
}

// thrifty has the garbage that is made of large buffers collected early, until the function it returns is called. Whoever
// has set GOGC has decided otherwise.
func thrifty() (done func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	usual := debug.SetGCPercent(25)
	return func() { debug.SetGCPercent(usual) }
}

// verdict says what is known of an archive after it was read.
func verdict(m *backup.Manifest, deep bool) string {
	s := "whole: " + summary(m)
	if !m.Moment.IsZero() {
		s += " as of " + m.Moment.Format(time.RFC3339)
	}
	if deep {
		s += "; rebuilt, and every message and consumer is the same"
	}
	if slices.ContainsFunc(m.Streams, func(s backup.Stream) bool { return s.Unchecked }) {
		s += "; natscli recorded no checksums, so only its form and its counts were looked at"
	}
	if names := m.Damaged(); len(names) > 0 {
		s += "; but damaged when it was made: " + short(names)
	}
	return s
}

func backupRestore(c *cli.Context, r *remote) error {
	file := c.Args().First()
	defer thrifty()()
	progress, done := progressLine(c)
	out, err := backup.Restore(c.Context, r.nc, file, backup.RestoreOptions{
		Streams: c.StringSlice("stream"), As: c.String("as"), Replace: c.Bool("replace"), Expire: c.Bool("expire"), Version: version(),
		Stdin: c.App.Reader, Temp: c.String("tmp"), Free: freeIn, Wait: c.Duration("timeout"), Progress: progress,
		Own: func(ctx context.Context, stream string) (bool, error) {
			if stream != audit.Stream {
				return false, nil
			}
			proof, err := audit.Verify(ctx, r.js, nil)
			return err == nil && proof.New(), err
		},
		Kept: func(file string) { // whoever kills this has to know
			done()
			fmt.Fprintln(c.App.ErrWriter, "what is there is kept in "+file)
		},
	})
	done()
	if err != nil {
		return plainFile(err)
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, out)
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STREAM\tMESSAGES\tSEQUENCES\tCONSUMERS\t")
	for _, s := range out.Streams {
		note := s.Remarks
		if s.From != s.Name {
			note = append([]string{"was " + s.From}, note...)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", s.Name, humanize.Comma(int64(s.Messages)), sequences(s.Messages, s.FirstSeq, s.LastSeq), len(s.Consumers), strings.Join(note, "; "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s restored\n", count(len(out.Streams), "stream"))
	if out.Kept != "" {
		fmt.Fprintf(c.App.ErrWriter, "\nwhat was there before is in %s; remove it when nobody needs it any more\n", out.Kept)
	}
	return nil
}

func backupList(c *cli.Context) error {
	dir := c.Args().First()
	if c.NArg() > 1 {
		return misuse("backup ls wants one folder, and got %d", c.NArg())
	}
	if dir == "" {
		cfg, err := load(c)
		if err != nil {
			return err
		}
		dir = cfg.Backup.Dir
	}
	list, err := backup.List(dir)
	if err != nil {
		return plainFile(err)
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(c.App.Writer, "no archives in %s\n", dir)
		return err
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "FILE\tMOMENT\tSTREAMS\tMESSAGES\tSIZE\tTOOK\t")
	for _, a := range list {
		size := humanize.IBytes(uint64(a.Size))
		if m := a.Manifest; m != nil {
			note := ""
			if names := m.Damaged(); len(names) > 0 {
				note = "damaged: " + short(names)
			}
			fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", a.File, m.Moment.Format(time.RFC3339), len(m.Streams), humanize.Comma(int64(m.Messages())), size, took(m.Finished.Sub(m.Moment)), note)
		} else {
			fmt.Fprintf(tw, "%s\t-\t-\t-\t%s\t-\t%s\n", a.File, size, a.Problem)
		}
	}
	return tw.Flush()
}

// writeStreams prints what an archive holds.
func writeStreams(w io.Writer, streams []backup.Stream) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STREAM\tMESSAGES\tBYTES\tSEQUENCES\tCONSUMERS\tDIGEST\t")
	for _, s := range streams {
		note := ""
		if s.Damage != nil {
			note = "damaged: " + s.Damage.String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", s.Name, humanize.Comma(int64(s.Messages)), humanize.IBytes(s.Bytes), sequences(s.Messages, s.FirstSeq, s.LastSeq),
			len(s.Consumers), cmp.Or(s.Digest[:min(len(s.Digest), 23)], "-"), note)
	}
	return tw.Flush()
}

// sequences are the first and the last.
func sequences(messages, first, last uint64) string {
	if messages == 0 {
		return fmt.Sprintf("- of %d", last)
	}
	return fmt.Sprintf("%d–%d", first, last)
}

func summary(m *backup.Manifest) string {
	return fmt.Sprintf("%s, %s", count(len(m.Streams), "stream"), count(int(m.Messages()), "message"))
}

func took(d time.Duration) string { return d.Round(time.Millisecond).String() }

// freeIn is how much room the folder for temporary files has.
func freeIn(dir string) (uint64, error) { return server.FreeSpace(cmp.Or(dir, os.TempDir())) }

// plainFile is the error of a file that cannot be opened without what was tried with it.
func plainFile(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return fmt.Errorf("%s: %w", pe.Path, pe.Err)
	}
	return err
}
