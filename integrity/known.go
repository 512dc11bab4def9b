package integrity

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/ledger"
)

// changed is what is not as the last clean stop left it.
func (s Store) changed(p place) (all []blocks.Damage, _ error) {
	if !s.clean() {
		return nil, nil
	}
	for _, file := range s.files[p.rel] {
		rel := p.rel + "/" + file
		was := s.Manifest[rel]
		d := blocks.Damage{File: file, Part: part(file), What: blocks.Checksum, Detail: "it is not as the last clean stop left it"}
		is, err := same(filepath.Join(s.Dir, filepath.FromSlash(rel)), was)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.What, d.Detail = blocks.Gone, ""
		case err != nil:
			return nil, err
		case is:
			continue
		}
		if d.Part == blocks.Messages {
			d.What, d.Before = blocks.Hole, 1 // the blocks say which messages, if any
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b blocks.Damage) int { return cmp.Compare(a.File, b.File) })
	return all, nil
}

// copied reports whether the ledger has copies of what a clean stop left: it copies nothing that was damaged already.
func (s Store) copied(p place) bool {
	for _, file := range s.files[p.rel] {
		if part(file) != blocks.Description && part(file) != blocks.Consumer {
			continue
		}
		rel := p.rel + "/" + file
		if c, ok := s.Keep[rel]; !ok || sumOf(c.Data) != s.Manifest[rel].Sum {
			return false
		}
	}
	return true
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func same(file string, was ledger.File) (bool, error) {
	info, err := os.Stat(file)
	if err != nil || info.Size() != was.Size || was.Sum == "" {
		return err == nil && info.Size() == was.Size, err
	}
	b, err := os.ReadFile(file)
	return sumOf(b) == was.Sum, err
}

// silent is files that are not what the ledger copied, although nobody has written to them since.
func (s Store) silent(p place) (all []blocks.Damage) {
	if s.clean() {
		return nil // the manifest is better
	}
	for _, file := range s.copies[p.rel] {
		was := s.Keep[p.rel+"/"+file]
		name := filepath.Join(p.dir, filepath.FromSlash(file))
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			// Whole folders are deleted, and a description first; a state is not.
			if path.Base(file) == stateFile && exists(filepath.Join(filepath.Dir(name), metaFile)) {
				all = append(all, blocks.Damage{File: file, Part: part(file), What: blocks.Gone})
			}
			continue
		}
		if err != nil || !info.ModTime().Equal(was.Changed) {
			continue
		}
		if b, err := os.ReadFile(name); err == nil && string(b) != string(was.Data) {
			all = append(all, blocks.Damage{File: file, Part: part(file), What: blocks.Checksum, Size: int64(len(b)),
				Detail: "it is not what the ledger copied, and nobody has written to it since"})
		}
	}
	slices.SortFunc(all, func(a, b blocks.Damage) int { return cmp.Compare(a.File, b.File) })
	return all
}

// normal is what a crash leaves, and nats-server puts right without a loss: an index that was being written, and messages of
// which nobody was told that they are stored. That is the very end of the stream, one message or one atomic batch.
func (s Store) normal(p place, report *blocks.Report) func(blocks.Damage) bool {
	line, known := ledger.Stream{}, false
	if p.account == ownAccount {
		line, known = s.Page.Stream(p.stream)
	}
	return func(d blocks.Damage) bool {
		switch d.Part {
		case blocks.Messages:
			end := d.Before == 0 || report.Batch > 0 && d.Before >= report.Batch
			torn := d.What == blocks.Torn || d.What == blocks.Checksum || d.What == blocks.Malformed
			if !end || !torn || known && d.After < line.Last {
				return false
			}
			if d.Behind > 0 {
				s.copy(p, &harm{file: d.File})
			}
			return d.What == blocks.Torn || known || d.Behind > 0
		case blocks.Index:
			return path.Base(d.File) == "index.db"
		case blocks.Description:
			// It was being made, or deleted: there is nothing in it, or nobody wants it.
			return d.What == blocks.Gone && (line.Going || report.Messages == 0 && !known)
		}
		return d.Part == blocks.Staged
	}
}

// halfMade reports whether the finding is of a consumer that was being made when the process ended: it is mended as well, but
// nothing is damaged. The ledger would have a copy of any other, and without a ledger it would have a state.
func (s Store) halfMade(f ledger.Finding) bool {
	if f.Consumer == "" || path.Base(f.File) != sumFile {
		return false
	}
	sum := filepath.Join(s.Dir, filepath.FromSlash(f.File))
	_, copied := s.Keep[f.File]
	unused := !s.Page.Written.IsZero() || !exists(filepath.Join(filepath.Dir(sum), stateFile))
	return !exists(sum) && !copied && unused
}
