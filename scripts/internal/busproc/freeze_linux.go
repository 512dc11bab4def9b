package busproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Freeze stops the process as SIGSTOP does, and returns when each of its threads is out of the kernel: none is within an
// fsync any more. Kill ends it.
func (b *Bus) Freeze() error {
	if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < Patience; time.Sleep(time.Millisecond) {
		stopped, err := stopped(b.cmd.Process.Pid)
		if err != nil || stopped {
			return err
		}
	}
	return fmt.Errorf("process %d does not stop on SIGSTOP", b.cmd.Process.Pid)
}

func stopped(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false, errors.Join(err, fmt.Errorf("process %d has no threads", pid))
	}
	for _, t := range threads {
		text, err := os.ReadFile(t)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return false, err
		}
		// "PID (name) STATE …", and the name may hold anything.
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
		if !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "Z") {
			return false, nil
		}
	}
	return true, nil
}
