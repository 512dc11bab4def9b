package blocks

import "encoding/binary"

// span is a part of a block in which there is no record.
type span struct {
	from, to int // of the block, decompressed
	why      fault
	seq      uint64 // where only a border moved
}

// walk reads the records of one block, and finds its way again behind what it cannot read.
func (d *decoder) walk(buf []byte, after uint64, visit func(*Record) error, lost func(span)) error {
	var r Record
	budget := 64 * len(buf) // of what may be hashed in search of the next record: a payload can be made to look like many
	for at := 0; at < len(buf); {
		size, why := d.read(buf[at:], &r)
		if why == sound {
			r.Offset = int64(at)
			if r.Kind != Tombstone {
				after = max(after, r.Seq)
			}
			if err := visit(&r); err != nil {
				return err
			}
			at += size
			continue
		}
		next := d.next(buf, at, size, why, after, &budget)
		gap := span{from: at, to: next, why: why}
		if why == border {
			gap.seq = r.Seq
			after = max(after, r.Seq)
		}
		lost(gap)
		at = next
	}
	return nil
}

// next is where reading can go on behind a record of this size, 0 for not known, that is damaged.
func (d *decoder) next(buf []byte, at, size int, why fault, after uint64, budget *int) int {
	var r Record
	if why == border {
		return at + size
	}
	if end := at + size; size > 0 {
		if end == len(buf) {
			return end
		}
		if _, why := d.read(buf[end:], &r); why == sound || why == border {
			return end
		}
	}
	for p := at + 1; p+leastSize <= len(buf); p++ {
		length := int(binary.LittleEndian.Uint32(buf[p:]) &^ headerBit)
		if length < leastSize || length > len(buf)-p || length > mostSize {
			continue
		}
		// Sequences do not leap: with this, chance finds none in all of a block.
		if seq := binary.LittleEndian.Uint64(buf[p+4:]) & seqMask; seq == 0 || seq > after+1<<40 {
			continue
		}
		if *budget -= length; *budget < 0 {
			break
		}
		if _, why := d.read(buf[p:], &r); why == sound || why == border {
			return p
		}
	}
	return len(buf)
}
