package blocks

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Block is what is in one block file.
type Block struct {
	Number    uint32
	Size      int64
	Encrypted bool // nothing of it was read: nats-server authenticates it
	Records   int
	Messages  int    // of these
	First     uint64 // sequence of a message or of an erased one, 0 without any
	Last      uint64
	End       [8]byte // the last bytes: the checksum of the last record
	Newest    int64   // unix nanoseconds, the latest time of any record
	Changed   time.Time
	Sum       uint64 // of all bytes, lengths included; 0 unless it was asked for
}

// File is the block's file, from the stream's folder.
func (b Block) File() string { return blockFile(b.Number) }

func blockFile(number uint32) string { return path.Join(msgsDir, fmt.Sprint(number)+blockExt) }

// BlockOptions are those of ReadBlock.
type BlockOptions struct {
	After   uint64                // the last sequence of the blocks before
	Visit   func(*Record) error   // called with every readable record; an error of its ends the reading
	Pace    func(bytes int) error // called before that many bytes are read; an error of its ends the reading
	Sum     bool                  // see Block
	Buffers *Buffers              // nil: of its own
}

// Buffers save memory when they are kept from block to block.
type Buffers struct{ file, plain []byte }

// ReadBlock reads one block of the stream in dir. The error is Visit's or Pace's, or fs.ErrNotExist; what is wrong with
// the file is damage.
func (Reader) ReadBlock(dir string, number uint32, o BlockOptions) (Block, []Damage, error) {
	stream, name := filepath.Base(dir), blockFile(number)
	if o.Buffers == nil {
		o.Buffers = new(Buffers)
	}
	b := Block{Number: number}
	if _, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(name, blockExt)+keyExt)); err == nil {
		b.Encrypted = true
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			b.Size = info.Size()
		}
		return b, nil, err
	}
	raw, changed, err := slurp(filepath.Join(dir, name), mostBlock, o.Buffers.file, o.Pace)
	b.Size, b.Changed = int64(len(raw)), changed
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil, err
	}
	if err != nil {
		if d, ok := unreadable(name, Messages, err); ok {
			d.After = o.After
			return b, []Damage{d}, nil
		}
		return b, nil, err
	}
	o.Buffers.file = raw
	if len(raw) >= sumSize {
		b.End = [8]byte(raw[len(raw)-sumSize:])
	}
	if o.Sum {
		h := hasher("deltran-bus")
		h.Write(raw)
		b.Sum = h.Sum64()
	}
	damage, err := readBlock(&b, stream, raw, o)
	return b, damage, err
}

func readBlock(b *Block, stream string, raw []byte, o BlockOptions) (_ []Damage, err error) {
	plain, chunks := raw, []chunk(nil)
	if compressed(raw) {
		plain, chunks = decompress(o.Buffers.plain[:0], raw)
		o.Buffers.plain = plain
	}
	w := &walking{Block: b, o: o, chunks: chunks, last: o.After}
	err = newDecoder(stream, b.Number).walk(plain, o.After, w.visit, w.lost)
	return w.end(), err
}

// walking collects what the walk over one block meets.
type walking struct {
	*Block
	o      BlockOptions
	chunks []chunk
	last   uint64 // sequence so far
	all    []Damage
	open   int // damages from here on wait for the next message
}

func (w *walking) visit(r *Record) error {
	r.Block = w.Number
	w.Records++
	w.Newest = max(w.Newest, r.Time)
	if r.Kind != Tombstone {
		w.reach(r.Seq)
		for ; w.open < len(w.all); w.open++ {
			if w.all[w.open].Before == 0 {
				w.all[w.open].Before = r.Seq
			}
		}
	}
	if r.Kind == Message {
		w.Messages++
	}
	if w.o.Visit == nil {
		return nil
	}
	return w.o.Visit(r)
}

func (w *walking) reach(seq uint64) {
	if w.First == 0 {
		w.First = seq
	}
	w.Last = max(w.Last, seq)
	w.last = max(w.last, seq)
}

func (w *walking) lost(s span) {
	d := Damage{File: w.File(), Offset: int64(s.from), Size: int64(s.to - s.from), What: s.why.what(), Part: Messages, After: w.last,
		Behind: -w.Messages}
	if s.why == border {
		w.reach(s.seq)
		d.After, d.Before = s.seq-1, s.seq+1
	}
	if len(w.chunks) > 0 {
		d.Detail = fmt.Sprintf("byte %d of the decompressed block", s.from)
		c := &w.chunks[0]
		for i := range w.chunks { // the one that it comes from, or better one whose loss is the cause
			if w.chunks[i].err != nil && s.from <= w.chunks[i].at && w.chunks[i].at <= s.to {
				c = &w.chunks[i]
				d.What, d.Detail, c.err = Checksum, c.err.Error(), nil
				break
			}
			if w.chunks[i].at <= s.from {
				c = &w.chunks[i]
			}
		}
		d.Offset = c.file
	}
	w.all = append(w.all, d)
}

func (w *walking) end() []Damage {
	for i := range w.all {
		w.all[i].Behind += w.Messages
	}
	for _, c := range w.chunks {
		if c.err == nil {
			continue
		}
		d := Damage{File: w.File(), Offset: c.file, What: Checksum, Part: Messages, Detail: c.err.Error(), After: w.o.After}
		if w.last > w.o.After {
			d.Before = w.last + 1
		}
		w.all = append(w.all, d)
	}
	return w.all
}

var errTooLarge = errors.New("too large")

// slurp reads a file whole, into buf if that is large enough.
func slurp(name string, most int64, buf []byte, pace func(int) error) (_ []byte, changed time.Time, _ error) {
	if info, err := os.Stat(name); err != nil {
		return nil, changed, err
	} else if !info.Mode().IsRegular() { // to open one may take for ever
		return nil, changed, fmt.Errorf("it is no file but %s", info.Mode().Type())
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, changed, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, changed, err
	}
	if info.Size() > most {
		return nil, changed, fmt.Errorf("%w: %d bytes, and %d are the most", errTooLarge, info.Size(), most)
	}
	size := int(info.Size())
	if pace != nil {
		if err := pace(size); err != nil {
			return nil, changed, paced{err}
		}
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	n, err := io.ReadFull(f, buf[:size])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // it became shorter
		err = nil
	}
	return buf[:n], info.ModTime(), err
}

// paced is the caller's own error.
type paced struct{ error }

func (p paced) Unwrap() error { return p.error }

// unreadable is the damage that an error of slurp stands for.
func unreadable(file string, part Part, err error) (Damage, bool) {
	if errors.As(err, new(paced)) {
		return Damage{}, false
	}
	what := Unreadable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what = Gone
	case errors.Is(err, errTooLarge):
		what = Malformed
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return Damage{File: file, What: what, Part: part, Detail: err.Error()}, true
}

// blockNumber is N of N.blk.
func blockNumber(file string) (uint32, bool) {
	digits, ok := strings.CutSuffix(file, blockExt)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && fmt.Sprint(n) == digits
}
