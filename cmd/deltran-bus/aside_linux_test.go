package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A backup leaves the processors to others, with every thread that it has.
func TestBackupStandsAside(t *testing.T) {
	t.Parallel()
	b := newStockBus(t)
	b.fill("new", 20, 20000)
	path, err := exec.LookPath("deltran-bus")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "backup", "create", "-")
	cmd.Env = append(os.Environ(), "NATS_URL="+b.at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // the rest does not fit into the pipe: it waits
		t.Error(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Error(threads, err)
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		_, rest, ok := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); err != nil || !ok || len(fields) < 17 || fields[16] != "19" { // 3 is the first, 19 the niceness
			t.Errorf("%v: %s", err, text)
		}
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
