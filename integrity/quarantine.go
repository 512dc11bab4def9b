package integrity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/dustin/go-humanize"
)

// Folder is where copies of what is damaged are kept, in the store folder: stream, and the file's path in the stream with
// the first digits of its hash.
const Folder = "deltran-bus.quarantine"

// ErrFull: the quarantine holds as much as it may.
var ErrFull = errors.New("the quarantine is full")

// Quarantine copies files aside. The same contents are kept once.
type Quarantine struct {
	Store string                 // its folder
	Most  int64                  // bytes of all copies together
	Free  func() (uint64, error) // bytes that the disk has left; nil: enough
}

var errNoFile = errors.New("it is no file")

const (
	mostCopies = 1000
	headroom   = 64 << 20 // of the disk, for those who publish
)

// Keep makes a durable copy of a file of this stream, rel below its folder, and says where it is below the store folder.
func (q Quarantine) Keep(stream, dir, rel string) (string, error) {
	from := filepath.Join(dir, filepath.FromSlash(rel))
	info, err := os.Stat(from)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errNoFile
	}
	src, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer src.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, src); err != nil {
		return "", err
	}
	name := path.Join(Folder, stream, rel+fmt.Sprintf("-%x", sum.Sum(nil)[:4]))
	to := filepath.Join(q.Store, filepath.FromSlash(name))
	if _, err := os.Stat(to); err == nil {
		return name, nil // from before
	}
	if err := q.room(info.Size()); err != nil {
		return "", err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return name, q.write(to, src)
}

// room is an error if so many bytes are too many.
func (q Quarantine) room(size int64) error {
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(filepath.Join(q.Store, Folder), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		return err
	}
	if files >= mostCopies || bytes+size > q.Most {
		return fmt.Errorf("%w: %d files with %s; take away what is not needed any more", ErrFull, files, humanize.IBytes(uint64(bytes)))
	}
	if q.Free == nil {
		return nil
	}
	if free, err := q.Free(); err != nil || free < uint64(size)+headroom {
		return fmt.Errorf("the disk has %s left: %w", humanize.IBytes(free), errors.Join(ErrFull, err))
	}
	return nil
}

func (q Quarantine) write(to string, src io.Reader) error {
	fresh, err := makeDirs(filepath.Dir(to))
	if err != nil {
		return err
	}
	if err := writeFile(to, src); err != nil {
		return err
	}
	for _, dir := range fresh {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// writeFile puts a whole file there, durably, or nothing.
func writeFile(to string, src io.Reader) error {
	tmp := to + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, src)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(to))
}

// makeDirs makes a folder and those above it, and says which were not there.
func makeDirs(dir string) (fresh []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil {
			break
		}
		fresh = append(fresh, d)
	}
	return fresh, os.MkdirAll(dir, 0o700)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
