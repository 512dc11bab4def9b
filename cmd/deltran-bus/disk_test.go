//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

var diskCommands = map[string]func(*script, []string){
	"volume":   (*script).volume,
	"fill":     (*script).fill,
	"declined": (*script).declined,
	"failing":  (*script).failing,
	"mended":   func(s *script, _ []string) { s.mended() },
}

// volume mounts memory, which only root can, and which Linux calls tmpfs.
func (s *script) volume(args []string) {
	s.want(args, 2, "volume DIR SIZE")
	dir := s.MkAbs(args[0])
	s.Check(os.MkdirAll(dir, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+args[1], "tmpfs", dir).CombinedOutput(); err != nil {
		s.Fatalf("mount: %v %s", err, out)
	}
	s.held = append(s.held, func() { _ = exec.Command("umount", "-l", dir).Run() })
}

// fill is another program, which takes what is left of a volume, to the last byte.
func (s *script) fill(args []string) {
	s.want(args, 1, "fill FILE")
	f, err := os.Create(s.MkAbs(args[0]))
	s.Check(err)
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		s.Fatalf("%v", err)
	}
}

// declined publishes until JetStream answers with that error. A publish without an answer is tried again, as is one whose
// connection went with a nats-server that is started anew.
func (s *script) declined(args []string) {
	s.want(args, 2, "declined SUBJECT CODE")
	code, err := strconv.Atoi(args[1])
	s.Check(err)
	nc, err := s.connect(nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	s.Check(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	s.Check(err)
	for giveUp := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_, err := js.Publish(ctx, args[0], []byte("1"), jetstream.WithRetryAttempts(0))
		cancel()
		var api *jetstream.APIError
		if errors.As(err, &api) && int(api.ErrorCode) == code {
			return
		}
		if time.Now().After(giveUp) {
			s.Fatalf("the last publish: %v", err)
		}
	}
}

// failing has every write of the bus to the blocks of a stream fail, as a broken disk would: strace injects it.
func (s *script) failing(args []string) {
	s.want(args, 2, "failing STREAM ERROR")
	blocks, err := filepath.Glob(s.MkAbs(filepath.Join("deltran-data", "jetstream", "$G", "streams", args[0], "msgs", "*.blk")))
	s.Check(err)
	if len(blocks) == 0 {
		s.Fatalf("stream %s has no blocks", args[0])
	}
	calls := "write,pwrite64,fsync,fdatasync"
	words := []string{"-f", "-p", strconv.Itoa(s.bus.cmd.Process.Pid), "-o", os.DevNull, "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + args[1]}
	for _, b := range blocks {
		words = append(words, "-P", b)
	}
	attached := newOutput()
	cmd := exec.Command("strace", words...)
	cmd.Stderr = attached
	s.Check(cmd.Start())
	s.mend = func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() }
	for giveUp := time.After(patience); ; {
		text, more := attached.read()
		if strings.Contains(text, "attached") {
			return
		}
		select {
		case <-more:
		case <-giveUp:
			s.mended()
			s.Fatalf("strace: %s", text)
		}
	}
}

func (s *script) mended() {
	if s.mend != nil {
		s.mend()
		s.mend = nil
	}
}

// canTrace reports whether strace may look into another process here.
func canTrace() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	out, err := exec.Command("strace", "-o", os.DevNull, "-e", "trace=write", "-e", "inject=write:error=EIO:when=65535", "true").CombinedOutput()
	return err == nil && len(bytes.TrimSpace(out)) == 0
}
