package backup

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// A source holds streams that were backed up. It can be read from the beginning as often as needed.
type source interface {
	// each calls do with every stream in order: backup.json and what is beside it, which do reads as far as it likes.
	// It returns the manifest, nil if there is none, and an ErrBad if what it read is not whole.
	each(do func(p packed) error) (*Manifest, error)
	close()
}

// packed is one stream of a source.
type packed struct {
	name   string
	meta   []byte
	data   io.Reader
	legacy bool // data is what nats-server sent before 2.15
}

// Limits of what is read into memory as a whole.
const (
	maxMeta     = 16 << 20
	maxManifest = 256 << 20
)

// open opens an archive, an unpacked one, or a folder that natscli wrote; "-" is stdin, which is kept in a file in temp
// without a name.
func open(name string, stdin io.Reader, temp string) (source, error) {
	if name == "-" {
		s, err := newTemporary(temp)
		if err != nil {
			return nil, err
		}
		n, err := io.Copy(s, stdin)
		if err != nil {
			s.close()
			return nil, err
		}
		return &archiveFile{s.File, n, s.close}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		_ = f.Close()
		return openFolder(name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &archiveFile{f, st.Size(), func() { _ = f.Close() }}, nil
}

// archiveFile is what Create wrote.
type archiveFile struct {
	f       io.ReaderAt
	size    int64
	closing func()
}

func (a *archiveFile) close() { a.closing() }

func (a *archiveFile) each(do func(packed) error) (*Manifest, error) {
	return readArchive(io.NewSectionReader(a.f, 0, a.size), do)
}

// sealed reads the file to its end, and returns its manifest if the seal is its own: then every byte is as it was written.
func (a *archiveFile) sealed(ctx context.Context, p *progress) (*Manifest, error) {
	file := io.TeeReader(interruptible{ctx, io.NewSectionReader(a.f, 0, a.size)}, p.count(""))
	if _, err := io.Copy(io.Discard, newUnsealed(file)); err != nil {
		return nil, err
	}
	return lastManifest(a.f, a.size)
}

// readArchive reads an archive in one go. Only when it returns without an error is it known that what do was given is what
// was written.
func readArchive(r io.Reader, do func(packed) error) (*Manifest, error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(newUnsealed(r), 64<<10))
	if err != nil {
		return nil, unreadable("its beginning", err)
	}
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if err != nil {
			return nil, unreadable("a part's name", err)
		}
		if h.Typeflag != tar.TypeReg {
			return nil, bad(h.Name, "it is not a file")
		}
		if h.Name == manifestName {
			b, err := whole(t, h, maxManifest)
			if err != nil {
				return nil, err
			}
			if _, err := t.Next(); err != io.EOF {
				return nil, unreadable("behind the manifest", errors.Join(err, errMore))
			}
			if _, err := io.Copy(io.Discard, z); err != nil { // to the seal
				return nil, unreadable("its end", err)
			}
			return parseManifest(b)
		}
		name := path.Base(path.Dir(h.Name))
		if h.Name != partName(name, metaName) || !named(name) {
			return nil, bad(h.Name, "it does not belong here")
		}
		meta, err := whole(t, h, maxMeta)
		if err != nil {
			return nil, err
		}
		if h, err = t.Next(); err != nil {
			return nil, unreadable(partName(name, dataName), err)
		}
		if h.Name != partName(name, dataName) || h.Typeflag != tar.TypeReg {
			return nil, bad(h.Name, "it does not belong here")
		}
		if err := do(packed{name: name, meta: meta, data: t}); err != nil {
			return nil, err
		}
	}
}

var errMore = errors.New("more than there should be")

// unreadable is an error about bytes that cannot be read as what they should be.
func unreadable(at string, err error) error {
	if errors.Is(err, ErrBad) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return bad(at, "%w", err)
}

func whole(t io.Reader, h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, bad(h.Name, "it is %d bytes long", h.Size)
	}
	b, err := io.ReadAll(t)
	if err != nil {
		return nil, unreadable(h.Name, err)
	}
	return b, nil
}

// named reports whether JetStream takes a name for a stream's; one is also a folder's.
func named(name string) bool {
	return name != "" && len(name) <= natsserver.JSMaxNameLen && !strings.ContainsAny(name, " \t\r\n\f.*>/\\") && name != ".." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// folder is an unpacked archive, or what natscli wrote: one stream's folder, or one with such folders.
type folder struct {
	streams  []string // their folders
	manifest string   // empty: natscli's
}

func openFolder(dir string) (source, error) {
	has := func(dir, name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	f := &folder{}
	within, without := dir, ""
	switch {
	case has(dir, metaName):
		f.streams = []string{dir}
		return f, nil
	case has(dir, manifestName):
		f.manifest, within = filepath.Join(dir, manifestName), filepath.Join(dir, streamsDir)
	}
	found, err := os.ReadDir(within)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		if !e.IsDir() {
			continue
		}
		if sub := filepath.Join(within, e.Name()); has(sub, metaName) {
			f.streams = append(f.streams, sub)
		} else {
			without = cmp.Or(without, sub)
		}
	}
	switch {
	case len(f.streams) == 0 && f.manifest == "":
		return nil, bad(dir, "it holds neither %s nor folders that do", metaName)
	case without != "" && f.manifest == "": // natscli makes the folder first, and leaves it where it could not go on
		return nil, bad(without, "there is no %s in it: the backup of that stream did not come to its end; take the folder away to do without it", metaName)
	}
	return f, nil
}

func (f *folder) close() {}

func (f *folder) each(do func(packed) error) (*Manifest, error) {
	for _, dir := range f.streams {
		if err := f.one(dir, do); err != nil {
			return nil, err
		}
	}
	if f.manifest == "" {
		return nil, nil
	}
	b, err := os.ReadFile(f.manifest)
	if err != nil {
		return nil, err
	}
	return parseManifest(b)
}

func (f *folder) one(dir string, do func(packed) error) error {
	meta, err := os.ReadFile(filepath.Join(dir, metaName))
	if err != nil {
		return err
	}
	var m struct {
		Config struct {
			Name string `json:"name"`
		} `json:"config"`
	}
	if err := json.Unmarshal(meta, &m); err != nil || !named(m.Config.Name) {
		return bad(filepath.Join(dir, metaName), "%w", errors.Join(err, errors.New("it names no stream")))
	}
	p := packed{name: m.Config.Name, meta: meta}
	data, err := os.Open(filepath.Join(dir, dataName))
	if errors.Is(err, os.ErrNotExist) && f.manifest == "" {
		p.legacy = true
		data, err = os.Open(filepath.Join(dir, legacyName))
	}
	if err != nil {
		return bad(dir, "there is no %s in it that can be read: %w", dataName, plain(err))
	}
	defer data.Close()
	p.data = data
	return do(p)
}

// same compares what was read with what the manifest says of it.
func (m *Manifest) same(read []Stream) error {
	if len(read) != len(m.Streams) {
		return bad(manifestName, "it lists %d streams, and there are %d", len(m.Streams), len(read))
	}
	for i, got := range read {
		want := m.Streams[i]
		at := fmt.Sprintf("stream %s", want.Name)
		switch {
		case got.Name != want.Name:
			return bad(at, "stream %s stands in its place", got.Name)
		case !slices.Equal(got.Parts, want.Parts):
			return bad(at, "its parts are %s, and should be %s", show(got.Parts), show(want.Parts))
		case got.Digest != want.Digest:
			return bad(at, "its messages have the digest %s, and should have %s", got.Digest, want.Digest)
		case got.Messages != want.Messages || got.FirstSeq != want.FirstSeq || got.LastSeq != want.LastSeq:
			return bad(at, "it holds %d messages of %d to %d, and should hold %d of %d to %d", got.Messages, got.FirstSeq, got.LastSeq, want.Messages, want.FirstSeq, want.LastSeq)
		case !slices.Equal(got.Consumers, want.Consumers):
			return bad(at, "it has the consumers %q, and should have %q", got.Consumers, want.Consumers)
		case got.Gone != want.Gone+damaged(want):
			return bad(at, "%d messages of its state are missing, of which %d are accounted for", got.Gone, want.Gone+damaged(want))
		}
	}
	return nil
}

func damaged(s Stream) uint64 {
	if s.Damage == nil {
		return 0
	}
	return s.Damage.Messages
}

func show(parts []Part) string {
	b, _ := json.Marshal(parts)
	return string(b)
}

func parseMeta(p packed) (*snapshot, error) {
	var s snapshot
	if err := json.Unmarshal(p.meta, &s); err != nil {
		return nil, bad(partName(p.name, metaName), "%w", err)
	}
	return &s, nil
}
