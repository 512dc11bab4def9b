//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// systemd hears when the bus is ready, alive, reloading and stopping. Not parallel: it is this process that is told by
// its environment, and sent the signal.
func TestSystemdIsTold(t *testing.T) {
	dir := t.TempDir()
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	t.Setenv("NOTIFY_SOCKET", sock.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", "")
	said := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, _, err := sock.ReadFromUnix(buf)
			if err != nil {
				close(said)
				return
			}
			said <- string(buf[:n])
		}
	}()
	hears := func(word string) string {
		t.Helper()
		for s := range said {
			if strings.Contains(s, word) {
				return s
			}
		}
		t.Fatalf("never heard %s", word)
		return ""
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"deltran-bus", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--store-dir", filepath.Join(dir, "store")}, strings.NewReader(""), io.Discard, io.Discard)
	}()
	hears("EXTEND_TIMEOUT_USEC=30000000")
	hears("READY=1")
	hears("WATCHDOG=1")
	hears("WATCHDOG=1")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if s := hears("RELOADING=1"); !strings.Contains(s, "MONOTONIC_USEC=") || strings.Contains(s, "MONOTONIC_USEC=0") {
		t.Error(s)
	}
	hears("READY=1")
	cancel()
	hears("STOPPING=1")
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d", c)
	}
}
