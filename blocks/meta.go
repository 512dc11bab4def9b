package blocks

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const mostSmall = 256 << 20 // of a file that is read whole; index.db has each subject once

// file reads a small one; what cannot be read is damage, what is not there is ok == false.
func (s *scan) file(name string, part Part) (b []byte, ok bool, err error) {
	b, _, err = slurp(filepath.Join(s.dir, filepath.FromSlash(name)), mostSmall, nil, s.Pace)
	if err == nil {
		return b, true, nil
	}
	d, ours := unreadable(name, part, err)
	if !ours {
		return nil, false, err
	}
	if d.What != Gone {
		s.found(d)
	}
	return nil, false, nil
}

func (s *scan) exists(name string) bool {
	_, err := os.Stat(filepath.Join(s.dir, filepath.FromSlash(name)))
	return err == nil
}

// description checks the stream's own files, and notes what else stands beside them.
func (s *scan) description() error {
	s.Encrypted = s.sealed()
	if s.Encrypted && !s.exists(keyFile) {
		s.found(Damage{File: keyFile, What: Gone, Part: Description})
	}
	if err := s.meta("", s.Stream, Description); err != nil {
		return err
	}
	if b, ok, err := s.file(sourcesFile, Index); err != nil {
		return err
	} else if ok {
		s.implausible(sourcesFile, Index, decodeSources(b))
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	known := []string{metaFile, sumFile, keyFile, sourcesFile, msgsDir, consumerDir, batchDir, newMsgsDir}
	for _, e := range entries {
		switch name := e.Name(); {
		case slices.Contains(known, name):
		case name == purgedDir || leftover(name):
			s.Leftovers = append(s.Leftovers, name)
		default:
			s.Unknown = append(s.Unknown, name)
		}
	}
	return nil
}

// meta checks a description, in this folder, whose checksum goes by this name.
func (s *scan) meta(folder, name string, part Part) error {
	inf, sum := path.Join(folder, metaFile), path.Join(folder, sumFile)
	body, haveInf, err := s.file(inf, part)
	if err != nil {
		return err
	}
	want, haveSum, err := s.file(sum, part)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		ok   bool
	}{{inf, haveInf}, {sum, haveSum}} {
		if !f.ok && !s.named(f.name) {
			s.found(Damage{File: f.name, What: Gone, Part: part})
		}
	}
	if !haveInf || !haveSum {
		return nil
	}
	if metaSum(name, body) != string(want) {
		d := Damage{File: inf, What: Checksum, Part: part, Size: int64(len(body)), Detail: "it does not match " + path.Base(sum)}
		if h := bytes.TrimSpace(want); len(h) != 2*sumSize {
			d.File, d.What, d.Size, d.Detail = sum, Malformed, int64(len(want)), "it is no checksum"
		}
		s.found(d)
		return nil
	}
	return nil
}

// sealed reports whether nats-server encrypts the stream: there are keys.
func (s *scan) sealed() bool {
	if s.exists(keyFile) {
		return true
	}
	blocks, _ := os.ReadDir(filepath.Join(s.dir, msgsDir)) // what cannot be read is found elsewhere
	consumers, _ := os.ReadDir(filepath.Join(s.dir, consumerDir))
	return slices.ContainsFunc(blocks, func(e os.DirEntry) bool { return path.Ext(e.Name()) == keyExt }) ||
		slices.ContainsFunc(consumers, func(e os.DirEntry) bool { return s.exists(path.Join(consumerDir, e.Name(), keyFile)) })
}

// MetaSum is what nats-server writes into meta.sum beside this meta.inf, of a stream, or of one of its consumers.
func (Reader) MetaSum(stream, consumer string, inf []byte) string {
	if consumer != "" {
		stream += "/" + consumer
	}
	return metaSum(stream, inf)
}

func metaSum(name string, inf []byte) string {
	h := hasher(name)
	h.Write(inf)
	return hex.EncodeToString(h.Sum(nil))
}

// named reports whether there is a damage of this file already.
func (s *scan) named(file string) bool {
	return slices.ContainsFunc(s.Damage, func(d Damage) bool { return d.File == file })
}

func (s *scan) implausible(file string, part Part, err error) {
	if err != nil {
		s.found(Damage{File: file, What: Implausible, Part: part, Detail: err.Error()})
	}
}

// consumers checks what is kept of each.
func (s *scan) consumers() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, consumerDir))
	if err != nil {
		if d, ok := unreadable(consumerDir, Consumer, err); ok && d.What != Gone {
			s.found(d)
		}
		return nil
	}
	for _, e := range entries {
		folder := path.Join(consumerDir, e.Name())
		inside, err := os.ReadDir(filepath.Join(s.dir, consumerDir, e.Name()))
		if err != nil {
			s.Unknown = append(s.Unknown, folder)
			continue
		}
		files := 0
		for _, f := range inside {
			switch name := f.Name(); {
			case name == metaFile || name == sumFile || name == keyFile || name == stateFile:
				files++
			case leftover(name):
				s.Leftovers = append(s.Leftovers, path.Join(folder, name))
			default:
				s.Unknown = append(s.Unknown, path.Join(folder, name))
			}
		}
		if files == 0 { // it was being made, or deleted
			s.Leftovers = append(s.Leftovers, folder)
			continue
		}
		if err := s.consumer(folder, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) consumer(folder, name string) error {
	if err := s.meta(folder, s.Stream+"/"+name, Consumer); err != nil {
		return err
	}
	file := path.Join(folder, stateFile)
	b, ok, err := s.file(file, Consumer)
	if s.Encrypted && !s.exists(path.Join(folder, keyFile)) {
		s.found(Damage{File: path.Join(folder, keyFile), What: Gone, Part: Consumer})
	}
	if err != nil || !ok || s.Encrypted {
		return err
	}
	state, err := DecodeConsumerState(b)
	// Who was delivered anything can be at most where the stream is, if all of that was looked at.
	if err == nil && state.Delivered.Consumer > 0 && s.From == 0 && len(s.Blocks) > 0 && s.More == 0 && !s.lossy() && state.Delivered.Stream > s.Last {
		err = fmt.Errorf("delivered up to %d of a stream that ends at %d", state.Delivered.Stream, s.Last)
	}
	s.implausible(file, Consumer, err)
	return nil
}

// lossy reports whether messages may be missing, so that the end of the stream is not known.
func (s *scan) lossy() bool {
	return slices.ContainsFunc(s.Damage, func(d Damage) bool { return d.Part == Messages })
}

// batches checks what atomic batches under way have staged: each is a stream of its own name.
func (s *scan) batches() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, batchDir))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.Name()[0] == '.' || !s.exists(path.Join(batchDir, e.Name(), msgsDir)) {
			continue // it is being deleted, or made
		}
		r, err := Reader{}.scanBatch(filepath.Join(s.dir, batchDir, e.Name()), Options{Pace: s.Pace, Most: s.Most})
		if err != nil {
			return err
		}
		for _, d := range r.Damage {
			d.File, d.Part = path.Join(batchDir, e.Name(), d.File), Staged
			if d.What != Torn {
				s.found(d)
			}
		}
	}
	return nil
}

func (Reader) scanBatch(dir string, o Options) (*Report, error) {
	s := &scan{Options: o, Report: &Report{Stream: filepath.Base(dir)}, dir: dir, msgs: msgsDir}
	return s.Report, s.messages()
}
