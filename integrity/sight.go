package integrity

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/deltran/deltran-bus/blocks"
)

// sight is what the scrub read of one stream's blocks.
type sight struct {
	present blocks.Set
	blocks  []blocks.Block
	bad     []uint32 // blocks with something that could not be read
	keep    []keep
	sealed  bool // some are encrypted: nothing is known of their messages
}

func (s *Scrub) read(ctx context.Context, p place) (*sight, error) {
	numbers, err := s.Reader.Numbers(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &sight{}, nil
	}
	if err != nil {
		return nil, err
	}
	v, last := &sight{}, uint64(0)
	for _, n := range numbers {
		b, damage, err := s.Reader.ReadBlock(p.dir, n, blocks.BlockOptions{After: last, Pace: s.pace(ctx), Sum: true, Buffers: &s.buf, Visit: func(r *blocks.Record) error {
			if r.Kind == blocks.Message {
				v.present.Add(r.Seq)
			}
			return nil
		}})
		if errors.Is(err, fs.ErrNotExist) {
			continue // nats-server removed it
		}
		if err != nil {
			return nil, err
		}
		v.blocks = append(v.blocks, b)
		v.sealed = v.sealed || b.Encrypted
		last = max(last, b.Last)
		if len(damage) > 0 {
			v.bad = append(v.bad, n)
		}
	}
	return v, nil
}

// tailAge is for how long the end of the last block has to be as it is before it counts as damage, when no message shows
// that it should be readable.
const tailAge = 30 * time.Second

// again reads a block with damage until it is certain: nats-server may have been writing at its end, or have put
// another in its place.
func (s *Scrub) again(ctx context.Context, p place, block uint32, created time.Time) (certain []blocks.Damage, _ error) {
	for _, wait := range s.waits() {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		now, err := s.held(ctx, p.stream, false, created) // before it is read: what it had then is on the disk
		if err != nil {
			return nil, err
		}
		numbers, err := s.Reader.Numbers(p.dir)
		if err != nil {
			return nil, ignoreGone(err) // a purge
		}
		after := uint64(0)
		if i := slices.Index(numbers, block); i > 0 {
			if before, _, err := s.Reader.ReadBlock(p.dir, numbers[i-1], blocks.BlockOptions{Pace: s.pace(ctx), Buffers: &s.buf}); err == nil {
				after = before.Last
			}
		}
		b, damage, err := s.Reader.ReadBlock(p.dir, block, blocks.BlockOptions{After: after, Pace: s.pace(ctx), Buffers: &s.buf})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		newest := len(numbers) > 0 && numbers[len(numbers)-1] == block
		damage = slices.DeleteFunc(damage, func(d blocks.Damage) bool {
			beingWritten := newest && d.Behind == 0 && d.Offset+d.Size == b.Size && d.After >= now.Last && time.Since(b.Changed) < tailAge
			return beingWritten
		})
		if len(damage) == 0 {
			return nil, nil
		}
		certain = damage
	}
	return certain, nil
}

func (s *Scrub) waits() []time.Duration {
	if s.Again != nil {
		return s.Again
	}
	return []time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// mostDeleted is of how many deleted sequences the scrub asks for a list.
const mostDeleted = 5_000_000

// holes finds messages that nats-server says it has and that are in no block.
func (s *Scrub) holes(ctx context.Context, p place, before Held, v *sight, damage []blocks.Damage) (all []blocks.Damage, _ error) {
	if v.sealed {
		return nil, nil
	}
	missing, err := s.missing(ctx, p, before, v, damage)
	for _, wait := range s.waits() {
		if err != nil || len(missing) == 0 {
			return nil, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		if v, err = s.read(ctx, p); err != nil {
			return nil, err
		}
		missing, err = s.missing(ctx, p, before, v, damage)
	}
	for _, gap := range missing {
		all = append(all, blocks.Damage{File: v.file(gap), What: blocks.Hole, Part: blocks.Messages, Detail: "nats-server says it has them",
			After: gap.First - 1, Before: gap.Last + 1})
	}
	return all, err
}

// missing is what was there before, is said to be there now, was not read, and is not in what is known to be damaged.
func (s *Scrub) missing(ctx context.Context, p place, before Held, v *sight, damage []blocks.Damage) (out []blocks.Range, _ error) {
	gaps := func(now Held, deleted *blocks.Set) (out []blocks.Range) {
		for gap := range blocks.Missing(blocks.Range{First: max(now.First, 1), Last: min(before.Last, now.Last)}, &v.present, deleted) {
			known := slices.ContainsFunc(damage, func(d blocks.Damage) bool {
				return d.After < gap.First && (d.Before == 0 || d.Before > gap.Last)
			})
			if !known && len(out) < 1000 {
				out = append(out, gap)
			}
		}
		return out
	}
	now, err := s.held(ctx, p.stream, false, before.Created)
	if err != nil || len(gaps(now, nil)) == 0 {
		return nil, err
	}
	if now.Last-now.First > mostDeleted && now.Last-now.First-uint64(v.present.Len()) > mostDeleted {
		return nil, nil // the list would be larger than what it is for
	}
	if now, err = s.held(ctx, p.stream, true, before.Created); err != nil {
		return nil, err
	}
	var deleted blocks.Set
	for _, seq := range now.Deleted {
		deleted.Add(seq)
	}
	return gaps(now, &deleted), nil
}

// file is the block that messages should be in.
func (v *sight) file(gap blocks.Range) string {
	for _, b := range v.blocks {
		if b.Last >= gap.First {
			return b.File()
		}
	}
	return "msgs"
}

// small checks descriptions and consumer states.
func (s *Scrub) small(ctx context.Context, p place) (all []blocks.Damage, _ error) {
	o := blocks.Options{Small: true, Pace: s.pace(ctx)}
	r, err := s.Reader.Scan(p.dir, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMoved
	}
	if err != nil {
		return nil, err
	}
	all = r.Damage
	for _, wait := range s.waits() { // nats-server writes a file and its checksum one after the other
		if len(all) == 0 {
			return nil, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		if r, err = s.Reader.Scan(p.dir, o); err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(d blocks.Damage) bool {
			return !slices.ContainsFunc(r.Damage, func(x blocks.Damage) bool { return x.File == d.File && x.What == d.What })
		})
	}
	// Whoever is missing all of a description is being made or deleted, however slowly.
	return slices.DeleteFunc(all, func(d blocks.Damage) bool {
		return d.What == blocks.Gone && d.Part == blocks.Consumer && path.Base(d.File) != stateFile
	}), nil
}
