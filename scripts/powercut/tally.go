package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/witness"
	"github.com/dustin/go-humanize"
)

// A tally is what came of many cuts.
type tally struct {
	cuts         int
	disks        int // that they made, those that are alike counted once
	acknowledged int // messages, in the lives that were cut
	looked       int // messages that had to be there, over all disks
	lost         int // of these
	refused      int // disks that the server does not start on
	failed       []string
	unkept       []string // paths of the last life that Strict does not keep
	begun        time.Time
}

func (t *tally) add(where string, res witness.Result) {
	t.disks++
	t.looked += res.Acknowledged
	t.lost += res.Lost
	if res.Refused {
		t.refused++
	}
	if err := res.Err(); err != nil {
		t.failed = append(t.failed, fmt.Sprintf("%s: %v", where, err))
	}
}

// tell prints what came of one part, the first failures first.
func (s *settings) tell(what string, t *tally) {
	for i, f := range t.failed {
		if i == 5 && !s.verbose {
			fmt.Fprintf(s.out, "… and %d more, which -v tells\n", len(t.failed)-i)
			break
		}
		fmt.Fprintln(s.out, "FAIL", strings.ReplaceAll(f, "\n", "\n     "))
	}
	fmt.Fprintf(s.out, "%s: %s, %s different disks; %s acknowledged messages looked for, %s lost; %d disks not as they have to be, %d of them refused (%s)\n",
		what, comma(t.cuts), comma(t.disks), comma(t.looked), comma(t.lost), len(t.failed), t.refused, time.Since(t.begun).Round(100*time.Millisecond))
}

func comma(n int) string { return humanize.Comma(int64(n)) }

// checkAll checks cuts, some at a time, which is what a machine with few cores is quickest with: each waits a little.
func (s *settings) checkAll(ctx context.Context, l *life, cuts []cut, t *tally) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan cut)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) + 1 {
		wg.Go(func() {
			for c := range todo {
				res, err := s.check(ctx, l, c)
				if err != nil {
					cancel(fmt.Errorf("%s: %w", l.where(c), err))
					return
				}
				mu.Lock()
				t.add(l.where(c), res)
				mu.Unlock()
			}
		})
	}
	for _, c := range cuts {
		select {
		case todo <- c:
		case <-ctx.Done():
		}
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}
