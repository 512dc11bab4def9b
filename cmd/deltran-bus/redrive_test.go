//go:build unix

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/deltran/deltran-bus/deadletter"
)

// What happened first is sent again first, in whatever order JetStream gave up on it.
func TestRedriveOrder(t *testing.T) {
	t.Parallel()
	at := func(number uint64, stream string, seq uint64, stored int64) deadletter.Letter {
		return deadletter.Letter{ID: deadletter.ID{Stream: stream, Sequence: seq}, Number: number, Time: time.Unix(stored, 0)}
	}
	letters := []deadletter.Letter{at(1, "A", 3, 30), at(2, "B", 9, 20), at(3, "A", 2, 10), at(4, "A", 1, 10)}
	slices.SortFunc(letters, asStored)
	var got []uint64
	for _, l := range letters {
		got = append(got, l.Number)
	}
	if !slices.Equal(got, []uint64{4, 3, 2, 1}) {
		t.Error(got)
	}
}
