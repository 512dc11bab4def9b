package backup

import (
	"context"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// remembers is how long nats-server keeps in memory what it has written, and then some: 10 s, whatever there is.
const remembers = 12 * time.Second

// paced lets so much through that what was written within remembers fits the budget: the first of it at once.
type paced struct {
	ctx    context.Context
	w      io.Writer
	budget int64
	left   float64   // of it now
	at     time.Time // when that was
}

func newPaced(ctx context.Context, w io.Writer, budget int64) *paced {
	return &paced{ctx: ctx, w: w, budget: budget, left: float64(budget), at: time.Now()}
}

func (p *paced) Write(b []byte) (int, error) {
	if wait := p.take(len(b), time.Now()); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		case <-t.C:
		}
	}
	return p.w.Write(b)
}

// take takes n bytes out of the budget, and returns how long to wait before they may be written.
func (p *paced) take(n int, now time.Time) time.Duration {
	rate := float64(p.budget) / remembers.Seconds()
	p.left = min(float64(p.budget), p.left+now.Sub(p.at).Seconds()*rate) - float64(n)
	p.at = now
	if p.left >= 0 {
		return 0
	}
	return time.Duration(-p.left / rate * float64(time.Second))
}

// Rebuilding takes a quarter of the memory that there is, but does not get slower than with leastMemory.
const leastMemory = 128 << 20

func memoryBudget() int64 { return max(leastMemory, available()/4) }

// available is what this process may use, as far as anybody says: the machine's, its container's, GOMEMLIMIT's.
func available() int64 {
	have := debug.SetMemoryLimit(-1)
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			have = min(have, n)
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		rest, _ := strings.CutPrefix(string(b), "MemTotal:")
		if kb, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64); err == nil {
			have = min(have, kb<<10)
		}
	}
	if have == math.MaxInt64 {
		return 0 // nobody says
	}
	return have
}
