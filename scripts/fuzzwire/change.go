package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// changeBytes does something to some bytes, a few times.
func (f *fuzzer) changeBytes(in []byte) []byte {
	out := slices.Clone(in)
	for range 1 + f.IntN(4) {
		if len(out) == 0 {
			return out
		}
		at := f.IntN(len(out))
		end := min(len(out), at+1+f.IntN(20))
		switch f.IntN(7) {
		case 0:
			out[at] ^= 1 << f.IntN(8)
		case 1:
			out[at] = pick(f, []byte{0, '\r', '\n', ' ', '\t', '.', '*', '>', '{', '"', 0xff, '9', '-'})
		case 2:
			out = slices.Delete(out, at, end)
		case 3:
			out = slices.Insert(out, at, slices.Clone(out[at:end])...)
		case 4:
			out = slices.Insert(out, at, bytes.Repeat(out[at:at+1], 1+f.IntN(5000))...) // longer than a control line may be
		case 5:
			out = slices.Insert(out, at, []byte(pick(f, sizes))...)
		case 6:
			out = out[:at]
		}
	}
	return out
}

// changeJSON puts something else in the place of one value, or breaks the text.
func (f *fuzzer) changeJSON(in []byte) []byte {
	var v any
	if f.IntN(5) == 0 || json.Unmarshal(in, &v) != nil {
		return f.changeBytes(in)
	}
	for range 1 + f.IntN(3) {
		v = f.changeValue(v)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return in
	}
	return out
}

func (f *fuzzer) changeValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if names := slices.Sorted(maps.Keys(v)); len(names) > 0 && f.IntN(20) > 0 {
			name := pick(f, names)
			if f.IntN(10) == 0 {
				delete(v, name)
			} else {
				v[name] = f.changeValue(v[name])
			}
			return v
		}
	case []any:
		if len(v) > 0 && f.IntN(5) > 0 {
			at := f.IntN(len(v))
			v[at] = f.changeValue(v[at])
			return append(v, v[at])
		}
	}
	return pick(f, []any{nil, true, 0, -1, 1, 1e308, -9223372036854775808, uint64(18446744073709551615), "", "x", ">", "fuzz.>", "*", "\x00", strings.Repeat("a", 300), strings.Repeat("fuzz.", 1000),
		[]any{}, map[string]any{}, []any{nil, []any{[]any{}}}, json.RawMessage(strings.Repeat("[", 2000) + strings.Repeat("]", 2000)), "limits", "interest", "workqueue", "memory", "FUZZ", "FUZZWORK", "{{wildcard(9)}}"})
}
