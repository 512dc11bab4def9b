package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A pair is one document in two files that are written in turn, in place: whatever happens while one is written, the
// other is whole. Writing in place needs one fsync and no new folder entry.
type pair struct {
	dir, name  string
	generation uint64 // of the last one written or read
	known      bool   // whether it was read or written yet
}

func (p *pair) path(generation uint64) string {
	return filepath.Join(p.dir, p.name+[]string{".a", ".b"}[generation%2])
}

// headed puts generation, length and checksum before a document; all of fixed length, so that a reader knows where it is.
const (
	headLine = "deltran-bus %s 1 %020d %012d %064x\n"
	maxDoc   = 1 << 30
)

func (p *pair) head(generation uint64, body []byte) []byte {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d\n", p.name, generation)
	sum.Write(body)
	return fmt.Appendf(nil, headLine, p.name, generation, len(body), sum.Sum(nil))
}

// read returns the newer of the two that is whole. A file that is not is named in damaged; with neither there is no
// document and ok is false.
func (p *pair) read(doc any) (ok bool, damaged []string, err error) {
	var best []byte
	for i := range uint64(2) {
		path := p.path(i)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, nil, err
		}
		generation, body, whole := p.parse(b)
		if !whole || generation%2 != i || !json.Valid(body) {
			damaged = append(damaged, path)
			continue
		}
		if best == nil || generation > p.generation {
			best, p.generation = body, generation
		}
	}
	p.known = true
	if best == nil {
		return false, damaged, nil
	}
	return true, damaged, json.Unmarshal(best, doc)
}

func (p *pair) parse(b []byte) (generation uint64, body []byte, whole bool) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, nil, false
	}
	var name string
	var length int
	var sum []byte
	if n, _ := fmt.Sscanf(string(b[:end+1]), headLine, &name, &generation, &length, &sum); n != 4 {
		return 0, nil, false
	}
	body = b[end+1:]
	if name != p.name || length < 0 || length > maxDoc || length > len(body) {
		return 0, nil, false
	}
	body = body[:length] // a longer one stood here before
	return generation, body, bytes.Equal(p.head(generation, body), b[:end+1])
}

// write makes doc durable over the older of the two.
func (p *pair) write(doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if !p.known { // which of the two is the older?
		if _, _, err := p.read(new(json.RawMessage)); err != nil {
			return err
		}
	}
	generation := p.generation + 1
	path := p.path(generation)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh { // the first of all has no other that is whole: it gets its name when it is
		if err = p.makeDir(); err == nil {
			f, err = os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(p.head(generation, body), body...))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if fresh {
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
		if err := syncDir(p.dir); err != nil {
			return err
		}
	}
	p.generation = generation
	return nil
}

// makeDir makes the ledger's folder with the first file in it.
func (p *pair) makeDir() error {
	err := os.Mkdir(p.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(p.dir))
}

// syncDir makes the entries of a folder durable; Windows has no such thing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
