package lossyfs

import (
	"math"
	"slices"
)

// What a disk writes as one, and what a page cache hands to it as one.
const (
	sector = 512
	page   = 4096
)

// content is what a file may hold after a cut. The operations at the indices `about` concern its bytes; those before synced
// are on the disk, and changes of its size can be seen when they are before visible.
func content(data []byte, ops []Op, about []int, synced, visible int, d dice) []byte {
	data = slices.Clone(data)
	writes := 0 // without an fsync
	for _, i := range about {
		if i >= synced && ops[i].Kind == Write {
			writes++
		}
	}
	grown := d.upTo(0, writes) // so many of them have made the file longer, whether or not their bytes are there
	kept := d.pieces(writes)
	below := int64(math.MaxInt64) // bytes from here on went to room that a cut-off file no longer has
	nth := 0
	for _, i := range about {
		o := ops[i]
		switch {
		case o.Kind == Truncate && i < visible:
			data = resized(data, o.Size)
		case o.Kind == Truncate:
			below = min(below, o.Size)
		case i < synced:
			data = written(data, o.Off, o.Data)
		default:
			nth++
			end := o.Off + int64(len(o.Data))
			if i < visible && nth <= grown && end > int64(len(data)) {
				data = resized(data, end)
			}
			kept(nth, o.Off, min(end, below, int64(len(data))), func(from, to int64) {
				copy(data[from:to], o.Data[from-o.Off:])
			})
		}
	}
	return data
}

// pieces decides which bytes of so many writes in order are on the disk: each sector, or each page, holds what the writes up
// to some moment have put there. The function it returns calls do for what is kept of one write, the first being 1.
func (d dice) pieces(writes int) func(nth int, from, to int64, do func(from, to int64)) {
	whole := func(nth int, from, to int64, do func(from, to int64)) {
		if from < to {
			do(from, to)
		}
	}
	none := func(int, int64, int64, func(int64, int64)) {}
	if d.keep {
		return whole
	}
	if d.drop || writes == 0 {
		return none
	}
	// The ways in which files come back from power cuts: nothing, everything, all up to a moment, or torn.
	switch d.IntN(5) {
	case 0:
		return none
	case 1:
		return whole
	case 2:
		moment := d.IntN(writes + 1)
		return func(nth int, from, to int64, do func(from, to int64)) {
			if nth <= moment {
				whole(nth, from, to, do)
			}
		}
	}
	size := int64(sector)
	if d.IntN(2) == 0 {
		size = page
	}
	moments := map[int64]int{} // by piece
	return func(nth int, from, to int64, do func(from, to int64)) {
		for ; from < to; from = (from/size + 1) * size {
			moment, ok := moments[from/size]
			if !ok {
				switch d.IntN(4) {
				case 0: // none of it
				case 1:
					moment = writes
				default:
					moment = d.IntN(writes + 1)
				}
				moments[from/size] = moment
			}
			if nth <= moment {
				do(from, min(to, (from/size+1)*size))
			}
		}
	}
}
