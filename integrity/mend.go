package integrity

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deltran/deltran-bus/blocks"
)

// mend is a file that is replaced, or taken away; a copy of what was there is in the quarantine.
type mend struct {
	path string
	data []byte // nil: it is taken away
}

// Mend does to the store what the findings say: damaged descriptions and consumer states are replaced by the ledger's copy,
// or taken away where nats-server makes them anew. It touches no message.
func (r *Result) Mend() error {
	for _, m := range r.mends {
		var err error
		if m.data == nil {
			if err = ignoreGone(os.Remove(m.path)); err == nil {
				err = syncDir(filepath.Dir(m.path))
			}
		} else {
			_, err = makeDirs(filepath.Dir(m.path))
			if err == nil {
				err = writeFile(m.path, bytes.NewReader(m.data))
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
	}
	return nil
}

// conclude copies what is damaged, and decides what comes of it.
func (s Store) conclude(r blocks.Reader, p place, harmed []*harm, res *Result) {
	mended := map[string]bool{} // folders of descriptions
	for _, h := range harmed {
		s.copy(p, h)
		var what string
		holds := false
		switch {
		case special(filepath.Join(p.dir, filepath.FromSlash(h.file))):
			what = "it is left as it is" // nobody writes such a thing by mistake
		case path.Ext(h.file) == ".key":
			what = s.fromCopy(p, h.file, res)
		case path.Base(h.file) == stateFile:
			what = s.state(p, h, harmed, res)
		case h.part == blocks.Messages:
			what, holds = s.cut(p, h)
		case h.part == blocks.Description || h.part == blocks.Consumer:
			folder := path.Dir(h.file)
			if mended[folder] {
				continue // both files of a pair
			}
			mended[folder] = true
			what = s.describe(r, p, h, folder, res)
		case h.part == blocks.Index:
			if h.first.What != blocks.Gone {
				res.mends = append(res.mends, mend{path: filepath.Join(p.dir, filepath.FromSlash(h.file))})
			}
			what = "nats-server makes it anew from the messages"
		}
		f := h.finding(p, what)
		f.Holds = holds
		res.Findings = append(res.Findings, f)
	}
}

func special(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.Mode().IsRegular()
}

// copy keeps what is damaged, and what belongs to it.
func (s Store) copy(p place, h *harm) {
	if s.Quarantine.Store == "" {
		return // nobody asked for it
	}
	files := []string{h.file}
	switch path.Base(h.file) {
	case metaFile:
		files = append(files, path.Join(path.Dir(h.file), sumFile))
	case sumFile:
		files = append(files, path.Join(path.Dir(h.file), metaFile))
	}
	for i, file := range files {
		to, err := s.Quarantine.Keep(p.name(), p.dir, file)
		if i == 0 {
			h.copied = to
		}
		if ignoreGone(err) != nil {
			h.copied, h.failed = "", err
		}
	}
}

// cut is what nats-server would do to damaged messages. It holds the bus where they were known to be safe.
func (s Store) cut(p place, h *harm) (what string, holds bool) {
	_, known := s.Page.Stream(p.stream)
	if h.behind > 0 {
		what = fmt.Sprintf("nats-server would cut off the rest of the block, %s", readable(h.behind))
	}
	switch {
	case h.first.What == blocks.Boundary && h.places == 1:
		return "they would be delivered with a wrong subject or wrong headers", false
	case h.from > h.to && h.behind == 0:
		return "no message is missing", false
	}
	return what, known && p.account == ownAccount && s.Page.Durable
}

// describe puts back a description, or takes it away so that it is made anew.
func (s Store) describe(r blocks.Reader, p place, h *harm, folder string, res *Result) string {
	inf, haveInf := s.Keep[path.Join(p.rel, folder, metaFile)]
	sum, haveSum := s.Keep[path.Join(p.rel, folder, sumFile)]
	dir := filepath.Join(p.dir, filepath.FromSlash(folder))
	if haveInf && haveSum && r.MetaSum(p.stream, h.consumer(), inf.Data) == string(sum.Data) {
		res.mends = append(res.mends, mend{filepath.Join(dir, metaFile), inf.Data}, mend{filepath.Join(dir, sumFile), sum.Data})
		return "the ledger's copy takes its place"
	}
	declared := p.account == ownAccount && s.Declared != nil && s.Declared(p.stream, h.consumer())
	if h.consumer() == "" && (!declared || exists(filepath.Join(dir, "meta.key"))) {
		return "nats-server will not open the stream"
	}
	res.mends = append(res.mends, mend{path: filepath.Join(dir, metaFile)}, mend{path: filepath.Join(dir, sumFile)})
	switch {
	case h.consumer() == "":
		res.Remade = append(res.Remade, p.stream)
		return "the stream is made anew from the declaration, with its messages"
	case declared:
		return "the consumer is made anew from the declaration, and keeps its state"
	}
	return "the consumer is not there until somebody makes it anew; it keeps its state"
}

// state puts back a consumer's state. What it has is older, or as old: messages come again, and none is skipped.
func (s Store) state(p place, h *harm, harmed []*harm, res *Result) string {
	name := filepath.Join(p.dir, filepath.FromSlash(h.file))
	copied, ok := s.Keep[path.Join(p.rel, h.file)]
	encrypted := exists(filepath.Join(filepath.Dir(name), "meta.key"))
	was, err := blocks.DecodeConsumerState(copied.Data)
	ok = ok && len(copied.Data) > 0 && (err == nil || encrypted)
	if !encrypted {
		// The stream was put back from a copy, and its consumers with it: they know better where they are.
		if b, err := os.ReadFile(name); err == nil {
			is, err := blocks.DecodeConsumerState(b)
			restored := slices.ContainsFunc(harmed, func(h *harm) bool { return h.part == blocks.Messages })
			if err == nil && (restored || !ok) && is.AckFloor.Stream <= was.AckFloor.Stream {
				return "it is left as it is"
			}
		}
	}
	if ok {
		res.mends = append(res.mends, mend{name, copied.Data})
		return "the ledger's copy takes its place: what was acknowledged since may come again"
	}
	res.mends = append(res.mends, mend{path: name})
	return "the consumer begins again, as its deliver_policy says"
}

// fromCopy puts back a key, without which nothing can be read.
func (s Store) fromCopy(p place, file string, res *Result) string {
	copied, ok := s.Keep[path.Join(p.rel, file)]
	if !ok || len(copied.Data) < 64 {
		return "without it nats-server cannot read what it encrypted"
	}
	res.mends = append(res.mends, mend{filepath.Join(p.dir, filepath.FromSlash(file)), copied.Data})
	return "the ledger's copy takes its place"
}

var errUnknown = errors.New("unknown")

// Sound reports whether what nats-server has in one of its small files can be right, so that a copy of it is worth keeping.
// rel is below the store folder; read gives the other files that it takes to know.
func Sound(r blocks.Reader, rel string, data []byte, read func(rel string) ([]byte, error)) bool {
	stream, consumer, err := owner(rel)
	if err != nil {
		return true
	}
	folder, base := path.Split(rel)
	switch base {
	case metaFile, sumFile:
		inf, sum := data, data
		if base == metaFile {
			sum, err = read(folder + sumFile)
		} else {
			inf, err = read(folder + metaFile)
		}
		return err == nil && r.MetaSum(stream, consumer, inf) == string(sum)
	case stateFile:
		if _, err := read(folder + "meta.key"); err == nil {
			return true // encrypted
		}
		_, err := blocks.DecodeConsumerState(data)
		return err == nil
	}
	return true
}

// owner is whose file it is, by its path below the store folder.
func owner(rel string) (stream, consumer string, _ error) {
	parts := strings.Split(rel, "/")
	if len(parts) < 5 || parts[2] != "streams" {
		return "", "", errUnknown
	}
	if len(parts) == 7 && parts[4] == "obs" {
		consumer = parts[5]
	}
	return parts[3], consumer, nil
}
