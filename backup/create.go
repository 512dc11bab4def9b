package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// CreateOptions are what Create can be told. The zero value backs up every stream of the account.
type CreateOptions struct {
	Streams  []string       // by name; none: all
	Version  string         // of the program, for the manifest
	Damaged  bool           // go on where messages cannot be read, and record them; otherwise that is an error
	Temp     string         // the folder in which streams are put together; default: the system's, or the archive's
	Wait     time.Duration  // for each answer; default 30 s
	Rate     int64          // bytes a second of messages that are read at most while somebody publishes; 0: no limit
	Progress func(Progress) // called from one goroutine at a time, at most once for a chunk of data

	share *share // instead of one for Rate
}

// Progress is how far a backup or a restore is.
type Progress struct {
	Doing   string // such as "reading" or "rebuilding"
	Stream  string
	Streams int    // how many there are
	Done    int    // of them
	Bytes   uint64 // of data so far, packed
}

// together is how many streams are read at the same time, so that their moments lie close together, and underWay how many
// bytes of all of them may be on their way: much less than what nats-server cuts a client off for, which may be 16 MB.
const (
	together = 16
	underWay = 4 << 20
)

// Create writes an archive to w. Everything that was stored before it began is in it, unless it is deleted or expires
// meanwhile; of what comes during it, each stream has what it had at its own moment. Publishers are not held up.
//
// A stream whose messages cannot all be read is an ErrDamaged that names it; what was written to w then is not an archive.
func Create(ctx context.Context, nc *nats.Conn, w io.Writer, o CreateOptions) (*Manifest, error) {
	c := newClient(nc, o.Wait)
	if err := recent(nc); err != nil {
		return nil, err
	}
	m := &Manifest{
		Format: formatName, Version: formatVersion, Moment: time.Now().UTC().Truncate(time.Microsecond),
		Bus: o.Version, NATS: nc.ConnectedServerVersion(), Server: nc.ConnectedServerName(),
	}
	names, err := c.chosen(ctx, o.Streams)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	sh, watched := o.share, func() {}
	if sh == nil {
		sh, watched = newShare(ctx, c, o.Rate)
	}
	var taken []chan taken
	defer func() {
		cancel()
		watched()
		for _, t := range taken {
			if got := <-t; got.data != nil {
				got.data.close()
			}
		}
	}()
	if err := sh.tell(ctx); err != nil { // not even the first of it disturbs anybody
		return nil, err
	}
	taken = c.takeAll(ctx, names, sh, o)
	out := newWriter(w, m.Moment)
	for i, name := range names {
		got := <-taken[i]
		if got.err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, got.err)
		}
		err := out.stream(&got.stream, got.meta, got.data)
		got.data.close()
		if err != nil {
			return nil, fmt.Errorf("write: %w", err)
		}
		m.Streams = append(m.Streams, got.stream)
	}
	m.Finished = time.Now().UTC().Truncate(time.Microsecond)
	if err := out.end(m); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	return m, nil
}

// chosen are the streams to take, in order.
func (c client) chosen(ctx context.Context, wanted []string) ([]string, error) {
	all, err := c.names(ctx)
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 {
		if len(all) == 0 {
			return nil, fmt.Errorf("%w: there is none at all", ErrNoStream)
		}
		return slices.Sorted(slices.Values(all)), nil
	}
	var errs []error
	for _, name := range wanted {
		if !slices.Contains(all, name) {
			errs = append(errs, fmt.Errorf("%w: %s", ErrNoStream, name))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(wanted))), errors.Join(errs...)
}

// taken is a stream that was read.
type taken struct {
	stream Stream
	meta   []byte // its backup.json
	data   *spool
	err    error
}

// takeAll begins to read the streams, several at a time, and returns a channel for each, which gives one result and is
// closed.
func (c client) takeAll(ctx context.Context, names []string, sh *share, o CreateOptions) []chan taken {
	window := underWay / min(together, max(len(names), 1))
	p := newProgress(o.Progress, "reading", len(names))
	slot := make(chan struct{}, together)
	out := make([]chan taken, len(names))
	for i := range names {
		out[i] = make(chan taken, 1)
	}
	go func() {
		for i, name := range names {
			slot <- struct{}{}
			go func() {
				t := c.take(ctx, name, window, sh, o, p)
				out[i] <- t
				close(out[i])
				<-slot
			}()
		}
	}()
	return out
}

// take reads one stream, and holds what came against what NATS says that it holds.
func (c client) take(ctx context.Context, name string, window int, sh *share, o CreateOptions, p *progress) (t taken) {
	defer func() {
		if t.err != nil && t.data != nil {
			t.data.close()
			t.data = nil
		}
	}()
	if t.err = ctx.Err(); t.err != nil {
		return t
	}
	if t.data, t.err = newSpool(cmp.Or(o.Temp, os.TempDir())); t.err != nil {
		return t
	}
	pr, pw := io.Pipe()
	type result struct {
		*content
		error
	}
	scanned := make(chan result, 1)
	var read tally
	go func() {
		found, err := scan{unpacked: func(r io.Reader) io.Reader { return io.TeeReader(r, &read) }}.run(pr)
		_ = pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		scanned <- result{found, err}
	}()
	snap, err := c.snapshot(ctx, name, window, sh, &read, io.MultiWriter(t.data, p.count(name), pw))
	_ = pw.CloseWithError(err)
	found := <-scanned
	switch {
	case found.error != nil && (err == nil || errors.Is(err, io.ErrClosedPipe)):
		t.err = fmt.Errorf("what nats-server sent: %w", found.error)
	case err != nil:
		t.err = err
	}
	if t.err != nil {
		return t
	}
	if t.err = t.data.end(); t.err != nil {
		return t
	}
	if t.meta, t.err = metaOf(snap); t.err != nil {
		return t
	}
	if t.stream, t.err = entry(name, snap, found.content); t.err != nil {
		return t
	}
	t.err = c.hold(ctx, &t, found.content, o.Damaged)
	p.done()
	return t
}

// metaOf is the file that natscli keeps beside the data.
func metaOf(s *snapshot) ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// entry is what the manifest says of a stream.
func entry(name string, snap *snapshot, found *content) (Stream, error) {
	var cfg struct {
		Storage string `json:"storage"`
	}
	if err := json.Unmarshal(snap.Config, &cfg); err != nil {
		return Stream{}, fmt.Errorf("configuration: %w", err)
	}
	return Stream{
		Name: name, Moment: snap.moment, Storage: cfg.Storage,
		Messages: found.messages, Bytes: found.state.Bytes, FirstSeq: found.state.FirstSeq, LastSeq: found.state.LastSeq,
		FirstTime: found.firstTime, LastTime: found.lastTime, Consumers: slices.Sorted(slices.Values(found.names)), Digest: found.digest,
	}, nil
}

// hold compares what was read with what NATS counts. Messages that were deleted or have expired meanwhile are gone; those
// that it still counts and did not send are damaged.
func (c client) hold(ctx context.Context, t *taken, found *content, damaged bool) error {
	missing := found.state.Msgs - found.messages
	info, err := c.info(ctx, t.stream.Name, missing > 0)
	if err != nil && !isAPI(err, errStreamNotFound) { // deleted meanwhile: what was read is what it held
		return err
	}
	t.stream.Created = info.Created
	var d Damage
	if err == nil && info.State.Lost != nil {
		d.Lost = info.State.Lost.Bytes
	}
	if err == nil && missing > 0 {
		r, err := t.data.content()
		if err != nil {
			return err
		}
		g := newGaps(found.state, info.State)
		if _, err := (scan{seen: g.seen}).run(r); err != nil {
			return err
		}
		d.Messages, d.Sequences = g.end()
	}
	t.stream.Gone = missing - min(missing, d.Messages)
	if d.Messages == 0 && d.Lost == 0 {
		return nil
	}
	t.stream.Damage = &d
	if !damaged {
		return fmt.Errorf("%w: %s", ErrDamaged, strings.TrimSpace(d.String()))
	}
	return nil
}

// gaps finds the sequences that a stream counts and a snapshot of it does not have.
type gaps struct {
	next, last uint64   // what is to be seen next; the last that the snapshot can have
	first      uint64   // of what the stream holds now
	deleted    []uint64 // behind that, in order
	n          uint64
	some       []uint64
}

func newGaps(then, now state) *gaps {
	slices.Sort(now.Deleted)
	return &gaps{next: then.FirstSeq, last: then.LastSeq, first: now.FirstSeq, deleted: now.Deleted}
}

func (g *gaps) seen(seq uint64) {
	g.between(g.next, seq)
	g.next = seq + 1
}

// between counts what should be in [from, to).
func (g *gaps) between(from, to uint64) {
	from = max(from, g.first)
	if from >= to {
		return
	}
	i, _ := slices.BinarySearch(g.deleted, from)
	j, _ := slices.BinarySearch(g.deleted, to)
	g.n += to - from - uint64(j-i)
	for seq := from; seq < to && len(g.some) < 10; seq++ {
		if i < j && g.deleted[i] == seq {
			i++
			continue
		}
		g.some = append(g.some, seq)
	}
}

func (g *gaps) end() (n uint64, some []uint64) {
	g.between(g.next, g.last+1)
	return g.n, g.some
}
