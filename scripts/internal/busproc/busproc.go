// Package busproc runs the built binary for the scripts, on ports of the system's choice, and ends it by its process,
// never by its name.
package busproc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience is how long a start or a stop may take before it counts as hanging.
const Patience = 30 * time.Second

// Ports is what the bus writes to its --ports-file once it is ready.
type Ports struct {
	PID     int    `json:"pid"`
	Client  string `json:"client"`  // nats://127.0.0.1:41234
	Monitor string `json:"monitor"` // http://127.0.0.1:38123
}

// A Bus is one running deltran-bus, or a nats-server.
type Bus struct {
	Ports
	cmd    *exec.Cmd
	stderr output
	done   chan struct{} // closed when the process has ended
	err    error         // how it ended; read after done
}

// Start runs `binary serve` with the given further arguments and returns when the bus says that it is ready.
func Start(ctx context.Context, binary string, args ...string) (*Bus, error) {
	dir, err := os.MkdirTemp("", "deltran-bus-ports-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "ports.json")

	b, err := Launch(binary, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--ports-file", file}, args...)...)
	if err != nil {
		return nil, err
	}
	return b.ready(ctx, func() (bool, error) {
		text, err := os.ReadFile(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, err
		}
		if err := json.Unmarshal(text, &b.Ports); err != nil {
			return false, fmt.Errorf("ports file: %w: %s", err, text)
		}
		if b.PID != b.cmd.Process.Pid {
			return false, fmt.Errorf("ports file: pid %d, the process is %d", b.PID, b.cmd.Process.Pid)
		}
		return true, nil
	})
}

// Launch runs the binary and does not wait for it to be ready: for one that is killed before it is.
func Launch(binary string, args ...string) (*Bus, error) {
	b := &Bus{done: make(chan struct{})}
	b.cmd = exec.Command(binary, args...)
	b.cmd.Stdout, b.cmd.Stderr = &b.stderr, &b.stderr
	dieWithUs(b.cmd)
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		b.err = b.cmd.Wait()
		close(b.done)
	}()
	return b, nil
}

// ready waits until is says so, and kills a process that does not get there.
func (b *Bus) ready(ctx context.Context, is func() (bool, error)) (*Bus, error) {
	if err := b.await(ctx, is); err != nil {
		return nil, errors.Join(err, b.Kill())
	}
	return b, nil
}

func (b *Bus) await(ctx context.Context, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := is(); yes || err != nil {
			return err
		}
		select {
		case <-b.done:
			return fmt.Errorf("ended before it was ready (%v):\n%s", b.err, b.Stderr())
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w:\n%s", ctx.Err(), b.Stderr())
		case <-tick.C:
		}
	}
}

// Damage is what the bus has called damaged so far: its lines about it.
func (b *Bus) Damage() (lines []string) {
	for line := range strings.Lines(b.Stderr()) {
		if strings.Contains(line, " kind=damage") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Stderr is what the bus has said so far: banner and log.
func (b *Bus) Stderr() string { return b.stderr.String() }

// Stop asks the bus to end, as an operator does, and returns an error unless it ends with exit code 0.
func (b *Bus) Stop() error {
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-b.done:
	case <-time.After(Patience):
		return errors.Join(fmt.Errorf("still running %s after SIGTERM:\n%s", Patience, b.Stderr()), b.Kill())
	}
	if b.err != nil {
		return fmt.Errorf("stopped with %w:\n%s", b.err, b.Stderr())
	}
	return nil
}

// Kill ends the bus as a crash does; when it has ended already, nothing happens.
func (b *Bus) Kill() error {
	err := b.cmd.Process.Kill()
	<-b.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// output is a buffer that one goroutine fills while another reads.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
