package blocks

// TryIndex decodes the contents of index.db, whose checksum a fuzzer cannot guess.
func TryIndex(b []byte) {
	if x, err := decodeIndex(b[:max(0, len(b)-sumSize)]); err == nil {
		for _, d := range x.blocks {
			for range Missing(Range{d.first, d.last}, d.deleted) {
			}
		}
	}
}

// TryTimers decodes thw.db, sched.db and sources.db.
func TryTimers(b []byte) {
	if dues, reach, err := decodeTTLs(b); err == nil {
		for _, d := range dues {
			if d.seq >= reach {
				panic("beyond its reach")
			}
		}
	}
	_ = decodeSchedules(b)
	_ = decodeSources(b)
}

// ReadBytes is ReadBlock of what is in memory.
func ReadBytes(stream string, raw []byte, visit func(*Record) error) (Block, []Damage, error) {
	b := Block{Number: 1, Size: int64(len(raw))}
	damage, err := readBlock(&b, stream, raw, BlockOptions{Visit: visit, Buffers: new(Buffers)})
	return b, damage, err
}
