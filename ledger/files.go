package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Manifest is every file of the store as a clean stop left it, by its path below the store folder, with slashes.
type Manifest map[string]File

// File is one of them. Blocks of messages are told by their size alone: reading them all would keep a stop waiting, and
// each of their records has a checksum of its own.
type File struct {
	Size int64  `json:"size"`
	Sum  string `json:"sum,omitempty"` // SHA-256
}

const (
	root     = "jetstream"
	blockExt = ".blk"
	maxKept  = 1 << 20 // a larger file is not copied: a consumer's state has some 10 bytes for each message under way
)

// Survey takes the manifest of a store that nobody writes to.
func Survey(store string) (Manifest, error) {
	m := Manifest{}
	err := walk(store, func(path, rel string, d fs.DirEntry) error {
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := File{Size: info.Size()}
		if filepath.Ext(path) != blockExt {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			f.Sum = hex.EncodeToString(sum[:])
		}
		m[rel] = f
		return nil
	})
	return m, err
}

// walk visits the files of all streams of a store; a folder whose name begins with a dot is on its way to be deleted.
func walk(store string, visit func(path, rel string, d fs.DirEntry) error) error {
	return filepath.WalkDir(filepath.Join(store, root), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) == ".tmp":
			return nil
		}
		rel, err := filepath.Rel(store, path)
		if err == nil {
			err = visit(path, filepath.ToSlash(rel), d)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// Stop makes a manifest durable. The page that is written next, and says that it was a clean stop, belongs to it.
func (b *Book) Stop(m Manifest) error { return b.stop.write(m) }

// Manifest is the last one; nil where there is none that can be read.
func (b *Book) Manifest() (m Manifest, err error) {
	_, damaged, err := b.stop.read(&m)
	b.Damaged = append(b.Damaged, damaged...)
	return m, err
}

// Keep holds copies of the small files of a store that nothing else could restore: the metadata of streams and
// consumers, the state of consumers, the keys of encrypted blocks; by their path below the store folder, with slashes.
type Keep map[string]Copy

// Copy is one of them, and when it was changed last.
type Copy struct {
	Changed time.Time `json:"changed"`
	Data    []byte    `json:"data"`
}

// Keepsakes is the last copy of each.
func (b *Book) Keepsakes() (k Keep, err error) {
	_, damaged, err := b.keep.read(&k)
	b.Damaged = append(b.Damaged, damaged...)
	return k, err
}

// Keep writes copies where they have changed.
func (b *Book) Keep(k Keep) error { return b.keep.write(k) }

// Refresh reads again what has changed in a store that may be written to meanwhile: nats-server puts a whole new file
// in the place of the old one. What is not sound keeps the copy that there is. It reports whether anything has changed.
func (k Keep) Refresh(store string, sound func(rel string, data []byte) bool) (changed bool, err error) {
	seen := map[string]bool{}
	visit := func(path string) error {
		rel, err := filepath.Rel(store, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		seen[rel] = true
		if c, ok := k[rel]; ok && c.Changed.Equal(info.ModTime()) && int64(len(c.Data)) == info.Size() || info.Size() > maxKept {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !sound(rel, data) {
			return nil
		}
		if c, ok := k[rel]; !ok || !bytes.Equal(c.Data, data) {
			changed = true
		}
		k[rel] = Copy{info.ModTime().UTC(), data}
		return nil
	}
	for _, pattern := range []string{"*/streams/*/meta.*", "*/streams/*/msgs/*.key", "*/streams/*/obs/*/meta.*", "*/streams/*/obs/*/o.dat"} {
		paths, err := filepath.Glob(filepath.Join(store, root, filepath.FromSlash(pattern)))
		if err != nil {
			return false, err
		}
		for _, path := range paths {
			if strings.HasSuffix(path, ".tmp") || strings.Contains(path, string(filepath.Separator)+".") {
				continue
			}
			if err := visit(path); err != nil {
				return false, err
			}
		}
	}
	for rel := range k {
		if !seen[rel] {
			delete(k, rel)
			changed = true
		}
	}
	return changed, nil
}
