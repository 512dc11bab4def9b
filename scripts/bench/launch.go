package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often a waiting client tries again, and so how late a start can be seen.
const pollEvery = 100 * time.Microsecond

// A launched is one running server.
type launched struct {
	url    string
	begun  time.Time
	ready  time.Duration // from begun until a client had the server's INFO
	cmd    *exec.Cmd
	output *bytes.Buffer
	done   chan error
}

// launch starts a server and returns at the first moment in which a client is served: a connection is accepted and
// NATS's greeting, INFO, has arrived. It is the same signal for every server, seen from outside.
func launch(ctx context.Context, cmd *exec.Cmd, addr string) (*launched, error) {
	l := &launched{url: "nats://" + addr, cmd: cmd, output: &bytes.Buffer{}, done: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = l.output, l.output
	l.begun = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		l.done <- cmd.Wait()
		close(ended)
	}()
	for !greeted(addr) {
		select {
		case <-ended:
			return nil, fmt.Errorf("%v ended before it was ready:\n%s", cmd.Args, l.output)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), l.stop())
		default:
			time.Sleep(pollEvery)
		}
	}
	l.ready = time.Since(l.begun)
	return l, nil
}

func greeted(addr string) bool {
	conn, err := knocker().Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "INFO ")
}

// knocker asks from an address of its own where there is one: of the thousands of attempts on a port that is still free,
// one would now and then be given that very port to come from, and so connect to itself and take it from the server.
func knocker() *net.Dialer {
	d := &net.Dialer{Timeout: time.Second}
	if runtime.GOOS == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	}
	return d
}

// stop ends the server in order; one that does not end in time is killed, and that is an error.
func (l *launched) stop() error {
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-l.done: // nats-server ends with 1 on SIGTERM, deltran-bus with 0
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(fmt.Errorf("%v did not stop:\n%s", l.cmd.Args, l.output), l.cmd.Process.Kill())
	}
}

// freeAddr is a loopback address that nobody listens on. The clock stops at the first connection, so the port has to be
// known before the server is; if another process takes it in between, the round fails and says so.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// kill ends the server as a crash does.
func (l *launched) kill() error {
	if err := l.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-l.done
	return nil
}
