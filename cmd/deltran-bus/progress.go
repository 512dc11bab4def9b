package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/backup"
	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// often is how often a progress line is written anew.
const often = 100 * time.Millisecond

// progressLine tells on stderr how far it is, where that is a terminal: one line, which done takes away again.
func progressLine(c *cli.Context) (tell func(backup.Progress), done func()) {
	w := c.App.ErrWriter
	if !terminal(w) || c.Bool("json") {
		return nil, func() {}
	}
	var mu sync.Mutex
	var last time.Time
	begun, doing := time.Now(), ""
	tell = func(p backup.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Doing != doing {
			doing, begun = p.Doing, time.Now()
		}
		if time.Since(last) < often {
			return
		}
		last = time.Now()
		rate := float64(p.Bytes) / max(time.Since(begun).Seconds(), 0.001)
		fmt.Fprintf(w, "\r\x1b[K%s", line(p, rate))
	}
	return tell, func() { fmt.Fprint(w, "\r\x1b[K") }
}

func line(p backup.Progress, rate float64) string {
	s := p.Doing + " " + p.Stream
	if p.Streams > 0 {
		s += fmt.Sprintf(" · %d of %s", p.Done, count(p.Streams, "stream"))
	}
	return s + fmt.Sprintf(" · %s · %s/s", humanize.IBytes(p.Bytes), humanize.IBytes(uint64(rate)))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
