package integrity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/blocks"
)

// memoryFile is in the store folder: what the scrub has read, and when.
const memoryFile = "deltran-bus.scrub"

// memory is what the scrub knows of each stream. A block whose contents have changed while its size and time have not was
// changed by nobody: that shows also what no checksum covers, where in a message its subject ends.
type memory map[string]stream

type stream struct {
	Checked time.Time        `json:"checked"` // every message was read after that
	Blocks  map[uint32]block `json:"blocks"`
}

type block struct {
	Size    int64     `json:"size"`
	Changed time.Time `json:"changed"`
	Sum     uint64    `json:"sum"`
}

// readMemory is empty where there is none that can be read: then everything is read anew.
func readMemory(store string) memory {
	m := memory{}
	b, err := os.ReadFile(filepath.Join(store, memoryFile))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return memory{}
	}
	return m
}

func (m memory) write(store string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(store, memoryFile), bytes.NewReader(b))
}

// forget drops streams that are not there any more.
func (m memory) forget(there []string) {
	for name := range m {
		if !slices.Contains(there, name) {
			delete(m, name)
		}
	}
}

func (v *sight) remember(began time.Time) stream {
	s := stream{Checked: began, Blocks: map[uint32]block{}}
	for _, b := range v.blocks {
		if !b.Encrypted && !slices.Contains(v.bad, b.Number) {
			s.Blocks[b.Number] = block{b.Size, b.Changed, b.Sum}
		}
	}
	for _, k := range v.keep {
		s.Blocks[k.number] = k.block
	}
	return s
}

// keep is what is still remembered of a block that has changed by itself: it is not right because time has passed.
type keep struct {
	number uint32
	block
}

// silent finds blocks that have changed although nobody has written to them.
func (s *Scrub) silent(ctx context.Context, p place, v *sight) (all []blocks.Damage, _ error) {
	for i, b := range v.blocks {
		was, ok := s.known[p.stream].Blocks[b.Number]
		changed := func(b blocks.Block) bool {
			return ok && was.Size == b.Size && was.Changed.Equal(b.Changed) && was.Sum != b.Sum
		}
		if !changed(b) || slices.Contains(v.bad, b.Number) {
			continue
		}
		again, damage, err := s.Reader.ReadBlock(p.dir, b.Number, blocks.BlockOptions{Pace: s.pace(ctx), Sum: true, Buffers: &s.buf})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && len(damage) == 0 && changed(again) && again.Sum == b.Sum {
			d := blocks.Damage{File: b.File(), What: blocks.Boundary, Part: blocks.Messages, Detail: "it has changed, and nobody has written to it", Before: b.Last + 1}
			if i > 0 {
				d.After = v.blocks[i-1].Last
			}
			all = append(all, d)
			v.bad = append(v.bad, b.Number)
			v.keep = append(v.keep, keep{b.Number, was})
		}
	}
	return all, nil
}
