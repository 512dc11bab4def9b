package integrity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/deltran/deltran-bus/blocks"
	"github.com/deltran/deltran-bus/ledger"
)

// Store is a store that nobody has open, and what the ledger knows of it.
type Store struct {
	Dir      string
	Page     ledger.Page     // the last; the zero value without a ledger
	Manifest ledger.Manifest // of the stop that Page tells of, if that was a clean one
	Keep     ledger.Keep
	// Declared reports whether a stream, or a consumer of it, is made anew where it is not there.
	Declared func(stream, consumer string) bool
	Quarantine
}

// clean reports whether the store is as a clean stop left it, as far as the ledger knows.
func (s Store) clean() bool { return s.Page.Clean && s.Manifest != nil }

// Result is what Look found, and would do.
type Result struct {
	Findings []ledger.Finding
	Bytes    int64    // that were read of messages
	Remade   []string // streams that come back by being made anew from the declaration
	// Accounted are the streams of the bus's account of which every sequence was read, or its deletion: what is not there
	// was deleted.
	Accounted []string
	mends     []mend
}

// Look finds what is damaged, and copies it to the quarantine. It changes nothing else; Mend does.
//
// After a clean stop the small files are compared with the ledger's manifest, and of the messages the sizes of the
// blocks; after any other stop every message is read, because nats-server will rebuild every block.
func Look(ctx context.Context, r blocks.Reader, s Store) (*Result, error) {
	places, err := s.places()
	if err != nil {
		return nil, err
	}
	results := make([]*Result, len(places))
	errs := make([]error, len(places))
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range places {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			results[i], errs[i] = s.look(ctx, r, p)
		})
	}
	wg.Wait()
	all := &Result{}
	for _, one := range results {
		if one == nil {
			continue
		}
		all.Findings = append(all.Findings, one.Findings...)
		all.Bytes += one.Bytes
		all.Remade = append(all.Remade, one.Remade...)
		all.Accounted = append(all.Accounted, one.Accounted...)
		all.mends = append(all.mends, one.mends...)
	}
	return all, errors.Join(errs...)
}

// places are the folders of all streams of all accounts.
func (s Store) places() (all []place, _ error) {
	accounts, err := os.ReadDir(filepath.Join(s.Dir, root))
	if err != nil {
		return nil, ignoreGone(err)
	}
	for _, a := range accounts {
		streams, err := os.ReadDir(filepath.Join(s.Dir, root, a.Name(), "streams"))
		if err != nil {
			continue // no account's folder
		}
		for _, st := range streams {
			if st.IsDir() && !strings.HasPrefix(st.Name(), ".") { // on its way to be deleted
				rel := path.Join(root, a.Name(), "streams", st.Name())
				all = append(all, place{a.Name(), st.Name(), rel, filepath.Join(s.Dir, filepath.FromSlash(rel))})
			}
		}
	}
	return all, nil
}

// look is Look for one stream.
func (s Store) look(ctx context.Context, r blocks.Reader, p place) (*Result, error) {
	pace := func(int) error { return ctx.Err() }
	changed, err := s.changed(p)
	if err != nil {
		return nil, err
	}
	o := blocks.Options{Clean: s.clean(), Pace: pace}
	o.Small = o.Clean && !slices.ContainsFunc(changed, func(d blocks.Damage) bool { return d.Part == blocks.Messages })
	report, err := r.Scan(p.dir, o)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	for _, b := range report.Blocks {
		res.Bytes += b.Size
	}
	all := report.Damage
	for _, d := range changed { // what the files themselves do not show
		if !slices.ContainsFunc(all, func(x blocks.Damage) bool { return x.File == d.File }) {
			all = append(all, d)
		}
	}
	all = append(all, s.silent(p)...)
	if !o.Clean {
		all = slices.DeleteFunc(all, s.normal(p, report))
	}
	if len(all)+len(report.Gaps) == 0 && !o.Clean && !report.Encrypted && p.account == ownAccount {
		res.Accounted = []string{p.stream}
	}
	s.conclude(r, p, report, byFile(all), res)
	return res, nil
}

// changed is what is not as the last clean stop left it.
func (s Store) changed(p place) (all []blocks.Damage, _ error) {
	if !s.clean() {
		return nil, nil
	}
	for rel, was := range s.Manifest {
		file, ok := strings.CutPrefix(rel, p.rel+"/")
		if !ok {
			continue
		}
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

func same(file string, was ledger.File) (bool, error) {
	info, err := os.Stat(file)
	if err != nil || info.Size() != was.Size || was.Sum == "" {
		return err == nil && info.Size() == was.Size, err
	}
	b, err := os.ReadFile(file)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]) == was.Sum, err
}

// silent is files that are not what the ledger copied, although nobody has written to them since.
func (s Store) silent(p place) (all []blocks.Damage) {
	if s.clean() {
		return nil // the manifest is better
	}
	for rel, was := range s.Keep {
		file, ok := strings.CutPrefix(rel, p.rel+"/")
		if !ok {
			continue
		}
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

// normal is what a crash leaves, and nats-server puts right without a loss: an index that was being written, and a last
// record that nobody was told to be stored.
func (s Store) normal(p place, report *blocks.Report) func(blocks.Damage) bool {
	line, known := ledger.Stream{}, false
	if p.account == ownAccount {
		line, known = s.Page.Stream(p.stream)
	}
	return func(d blocks.Damage) bool {
		switch {
		case d.What == blocks.Torn:
			return !known || line.Last <= d.After
		case d.Part == blocks.Index:
			return path.Base(d.File) == "index.db"
		case d.Part == blocks.Description && d.What == blocks.Gone:
			// It was being made, or deleted: there is nothing in it, or nobody wants it.
			return line.Going || report.Messages == 0 && !known
		}
		return false
	}
}

const (
	metaFile  = "meta.inf"
	sumFile   = "meta.sum"
	stateFile = "o.dat"
)

// part is what of a stream a file belongs to.
func part(file string) blocks.Part {
	switch {
	case strings.HasPrefix(file, "obs/"):
		return blocks.Consumer
	case strings.HasPrefix(file, "batches/"):
		return blocks.Staged
	case strings.HasSuffix(file, ".blk"), strings.HasSuffix(file, ".key") && strings.HasPrefix(file, "msgs/"):
		return blocks.Messages
	case strings.HasPrefix(path.Base(file), "meta."):
		return blocks.Description
	}
	return blocks.Index
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
