package backup

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/gzip" // which copies what is not to be packed four times as fast
)

// A writer writes an archive front to back. Every stretch of it is a gzip member of its own: a stream's data is packed
// while it arrives, before its length is known, and its tar header before it afterwards.
type writer struct {
	out    io.Writer
	sum    hash.Hash
	n      int64
	moment time.Time // the time of every file in it
}

func newWriter(w io.Writer, moment time.Time) *writer {
	return &writer{out: w, sum: newHash(), moment: moment}
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	w.sum.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// stream appends a stream's two files. Its manifest entry gets their names, sizes and checksums.
func (w *writer) stream(s *Stream, meta []byte, data *spool) error {
	s.Parts = []Part{
		partOf(partName(s.Name, metaName), meta),
		{Name: partName(s.Name, dataName), Size: data.size, SHA256: hexSum(data.sum.Sum(nil))},
	}
	err := w.member(func(t *tar.Writer) error {
		if err := w.file(t, s.Parts[0], meta); err != nil {
			return err
		}
		return t.WriteHeader(w.header(s.Parts[1])) // whose content follows in the next member
	})
	if err != nil {
		return err
	}
	return data.copyTo(w)
}

// end appends manifest and seal.
func (w *writer) end(m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	last := w.n
	err = w.member(func(t *tar.Writer) error {
		if err := w.file(t, partOf(manifestName, b), b); err != nil {
			return err
		}
		return t.Close()
	})
	if err != nil {
		return err
	}
	_, err = w.out.Write(seal(w.sum, last))
	return err
}

func (w *writer) member(fill func(*tar.Writer) error) error {
	buf := bufio.NewWriterSize(w, 32<<10)
	z := newGzip(buf, gzip.BestCompression)
	if err := fill(tar.NewWriter(z)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

func (w *writer) file(t *tar.Writer, p Part, content []byte) error {
	if err := t.WriteHeader(w.header(p)); err != nil {
		return err
	}
	_, err := t.Write(content)
	return err
}

func (w *writer) header(p Part) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: p.Name, Size: p.Size, Mode: 0o600, ModTime: w.moment.Truncate(time.Second)}
}

func partOf(name string, b []byte) Part {
	sum := sha256.Sum256(b)
	return Part{Name: name, Size: int64(len(b)), SHA256: hexSum(sum[:])}
}

// asItIs is how data goes into an archive: nats-server has packed it already. Another third could be gained, at the cost of
// as much of the machine's time as all the rest of a backup takes, on the machine that the bus runs on.
const asItIs = gzip.NoCompression

func newGzip(w io.Writer, level int) *gzip.Writer {
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		panic(err) // the level is one
	}
	return z
}

// spool keeps a stream's data, packed, until its length is known. Its file has no name where the system allows that.
type spool struct {
	f    temporary
	buf  *bufio.Writer
	z    *gzip.Writer
	size int64
	sum  hash.Hash
}

func newSpool(dir string) (*spool, error) {
	f, err := newTemporary(dir)
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriterSize(f, 256<<10)
	return &spool{f: f, buf: buf, z: newGzip(buf, asItIs), sum: sha256.New()}, nil
}

func (s *spool) Write(p []byte) (int, error) {
	s.sum.Write(p)
	s.size += int64(len(p))
	return s.z.Write(p)
}

// end fills up to a whole block of tar.
func (s *spool) end() error {
	if rest := s.size % 512; rest > 0 {
		if _, err := s.z.Write(make([]byte, 512-rest)); err != nil {
			return err
		}
	}
	if err := s.z.Close(); err != nil {
		return err
	}
	return s.buf.Flush()
}

func (s *spool) copyTo(w io.Writer) error {
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{s.f.File}, make([]byte, 256<<10))
	return err
}

// content reads what was written, after end.
func (s *spool) content() (io.Reader, error) {
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(s.f)
	if err != nil {
		return nil, err
	}
	return io.LimitReader(z, s.size), nil
}

func (s *spool) close() { s.f.close() }
