package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// memory returns the megabytes that the process has resident, settled for a moment, after n messages.
func (w *way) memory(ctx context.Context, work string, n int, settle time.Duration) (float64, error) {
	return w.fresh(ctx, work, "2m", func(in *instance, nc *nats.Conn) (float64, error) {
		if n > 0 {
			if err := fill(ctx, nc, n); err != nil {
				return 0, err
			}
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		return resident(in.process.cmd.Process.Pid)
	})
}

// resident is what the kernel says in /proc, in megabytes of 10⁶ bytes.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "VmRSS:" {
			kb, err := strconv.Atoi(words[1])
			return float64(kb) * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc says nothing of the memory of %d", pid)
}

// size is the binary's, in megabytes of 10⁶ bytes.
func (w *way) size() (float64, error) {
	info, err := os.Stat(w.binary)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / 1e6, nil
}
