package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
)

// VerifyOptions are what Verify can be told.
type VerifyOptions struct {
	Stdin    io.Reader                        // what the file "-" is
	Temp     string                           // the folder in which something is rebuilt; default: the system's
	Free     func(dir string) (uint64, error) // how much room a folder has; nil: not looked at
	Progress func(Progress)

	share *share // of what is read a second; nil: all there is
}

// Verify reads an archive to its end and returns its manifest if everything in it is as it was written: the seal over the
// whole file, the checksum of every part, and of every stream the digest over its messages, their number, first and last
// sequence and consumers. name may be a file, "-", an unpacked archive, or a folder that natscli wrote, for which nothing
// was recorded but a count. What is wrong is an ErrBad.
func Verify(ctx context.Context, name string, o VerifyOptions) (*Manifest, error) {
	src, err := open(name, o.Stdin, o.Temp)
	if err != nil {
		return nil, err
	}
	defer src.close()
	return (&check{ctx: ctx, share: o.share, progress: newProgress(o.Progress, "checking", 0)}).run(src)
}

// check reads a source and compares it with itself.
type check struct {
	ctx      context.Context
	share    *share
	progress *progress
	expired  time.Time                               // see scan
	also     func(packed, state) error               // is given every stream as well, its data as it is read; may be nil
	after    func(name string, found *content) error // is given what was found in it; may be nil
	wants    func(name string) bool                  // the streams that also and after are for; nil: all
}

func (c *check) run(src source) (*Manifest, error) {
	var read []Stream
	m, err := src.each(func(p packed) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		s, err := c.stream(p)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(read, func(r Stream) bool { return r.Name == s.Name }) {
			return bad("stream "+s.Name, "it is there twice")
		}
		read = append(read, s)
		c.progress.done()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m == nil {
		for i := range read {
			read[i].Unchecked = true
		}
		return &Manifest{Streams: read}, nil
	}
	return m, m.same(read)
}

func (c *check) stream(p packed) (Stream, error) {
	var snap snapshot
	if err := json.Unmarshal(p.meta, &snap); err != nil {
		return Stream{}, bad(partName(p.name, metaName), "%w", err)
	}
	var cfg struct {
		Name string `json:"name"`
	}
	var st state
	if err := errors.Join(json.Unmarshal(snap.Config, &cfg), json.Unmarshal(snap.State, &st)); err != nil || cfg.Name != p.name {
		return Stream{}, bad(partName(p.name, metaName), "%w", errors.Join(err, fmt.Errorf("it is of a stream %q", cfg.Name)))
	}
	wanted := c.wants == nil || c.wants(p.name)
	sum, n := sha256.New(), int64(0)
	data := io.TeeReader(interruptible{c.ctx, p.data}, io.MultiWriter(sum, c.progress.count(p.name), (*length)(&n)))
	again, done := c.alongside(p, st, wanted)
	found, err := c.scan(data, p.legacy, again)
	if err == nil {
		_, err = io.Copy(io.Discard, data)
	}
	if aerr := done(err); aerr != nil && (err == nil || errors.Is(err, errAlso)) {
		return Stream{}, aerr
	}
	if cerr := c.ctx.Err(); cerr != nil {
		return Stream{}, cerr
	}
	if err != nil {
		return Stream{}, unreadable(partName(p.name, dataName), err)
	}
	if p.legacy {
		found.state, found.messages = st, st.Msgs
	} else if found.state.Msgs != st.Msgs || found.state.FirstSeq != st.FirstSeq || found.state.LastSeq != st.LastSeq {
		return Stream{}, bad("stream "+p.name, "%s and %s do not belong together", metaName, dataName)
	}
	if c.after != nil && wanted {
		if err := c.after(p.name, found); err != nil {
			return Stream{}, err
		}
	}
	s, err := entry(p.name, &snap, found)
	if err != nil {
		return Stream{}, bad(partName(p.name, metaName), "%w", err)
	}
	if !p.legacy {
		s.Gone = st.Msgs - found.messages
	}
	s.Parts = []Part{partOf(partName(p.name, metaName), p.meta), {Name: partName(p.name, dataName), Size: n, SHA256: hexSum(sum.Sum(nil))}}
	return s, nil
}

// alongside starts also, which is given what is written to again until done is called; done returns what it returned.
func (c *check) alongside(p packed, st state, wanted bool) (again io.Writer, done func(error) error) {
	if c.also == nil || !wanted {
		return nil, func(error) error { return nil }
	}
	pr, pw := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := c.also(packed{p.name, p.meta, pr, p.legacy}, st)
		_ = pr.CloseWithError(errAlso)
		ended <- err
	}()
	return pw, func(err error) error {
		_ = pw.CloseWithError(err)
		return <-ended
	}
}

// errAlso is how reading ends when whoever reads along has given up.
var errAlso = errors.New("the other reader has ended")

func (c *check) scan(r io.Reader, legacy bool, again io.Writer) (*content, error) {
	if !legacy {
		return scan{expired: c.expired, again: again, unpacked: func(r io.Reader) io.Reader { return c.share.reader(c.ctx, r) }}.run(r)
	}
	if again != nil {
		r = io.TeeReader(r, again)
	}
	t := tar.NewReader(s2.NewReader(r)) // nats-server's own files: only it can say what is in them
	for {
		if _, err := t.Next(); err == io.EOF {
			return &content{}, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// interruptible reads until its context ends.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

type length int64

func (l *length) Write(p []byte) (int, error) {
	*l += length(len(p))
	return len(p), nil
}

// ordered are the names of the manifest's streams.
func (m *Manifest) names() []string {
	var names []string
	for _, s := range m.Streams {
		names = append(names, s.Name)
	}
	return slices.Sorted(slices.Values(names))
}
