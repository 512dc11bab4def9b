package integrity

import (
	"context"
	"errors"
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
	Thorough bool // read every message, after a clean stop as well
	Quarantine

	files, copies map[string][]string // of Manifest and Keep, from the folder of the stream that they belong to
}

// of gathers names by the stream's folder that they are in.
func of[V any](all map[string]V) map[string][]string {
	out := map[string][]string{}
	for rel := range all {
		if parts := strings.SplitN(rel, "/", 5); len(parts) == 5 {
			folder := strings.Join(parts[:4], "/")
			out[folder] = append(out[folder], parts[4])
		}
	}
	return out
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
	s.files, s.copies = of(s.Manifest), of(s.Keep)
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
	if o.Clean && len(changed) == 0 && !s.Thorough && s.copied(p) {
		return &Result{}, nil
	}
	o.Small = o.Clean && !s.Thorough && !slices.ContainsFunc(changed, func(d blocks.Damage) bool { return d.Part == blocks.Messages })
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
	s.conclude(r, p, byFile(all), res)
	if !o.Clean {
		res.Findings = slices.DeleteFunc(res.Findings, s.halfMade)
	}
	return res, nil
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
