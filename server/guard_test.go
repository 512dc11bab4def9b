//go:build unix

package server_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/deltran/deltran-bus/ledger"
	"github.com/deltran/deltran-bus/server"
)

const nobody = 65534

// nats-server deletes a stream of which it cannot open a file, and an audit trail with it: such a store is refused before
// nats-server sees it, and nothing in it changes.
func TestUnreadableFileCostsNoStream(t *testing.T) {
	if dir := os.Getenv("DELTRAN_TEST_STORE"); dir != "" { // as nobody
		_, err := server.Start(context.Background(), at(t, dir), logTo(t))
		if !errors.Is(err, server.ErrNotRecovered) || !strings.Contains(err.Error(), "1.blk: permission denied") {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.audit.x", 20)
	stop(t, s)
	block := filepath.Join(dir, "jetstream", "$G", "streams", "AUDIT", "msgs", "1.blk")
	if os.Getuid() == 0 { // who may do anything: look as nobody
		give(t, dir, nobody)
		if err := os.Chown(block, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(block, 0o200); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	again := exec.Command(os.Args[0], "-test.run=^TestUnreadableFileCostsNoStream$")
	again.Env = append(os.Environ(), "DELTRAN_TEST_STORE="+dir, "TMPDIR="+t.TempDir())
	if os.Getuid() == 0 {
		reachable(t, again.Env[len(again.Env)-1][len("TMPDIR="):], dir)
		again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		again.Args[0], again.Path = copyOf(t, os.Args[0]), copyOf(t, os.Args[0])
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("changed:\n%s", after)
	}
	if err := os.Chmod(block, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, js(t, start(t, at(t, dir))), "AUDIT"); n != 20 {
		t.Errorf("%d messages", n)
	}
}

func give(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, uid, uid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reachable opens the folders above, which t.TempDir keeps to their owner, and gives the first one to nobody.
func reachable(t *testing.T, own string, dirs ...string) {
	t.Helper()
	give(t, own, nobody)
	for _, d := range append(dirs, own) {
		for d = filepath.Dir(d); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// copyOf is the test binary where everybody can run it.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "server.test")
	reachable(t, filepath.Dir(to), to)
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// A stream whose description is gone costs no message: the ledger has a copy, and without it the stream is made anew over
// what it holds. Where nobody declares it, it is left as it is; what is gone is not made anew.
func TestStreamWithoutDescription(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := start(t, at(t, dir))
	publish(t, js(t, s), "events.audit.x", 20)
	stop(t, s)
	audit := filepath.Join(dir, "jetstream", "$G", "streams", "AUDIT")
	undescribed := func() {
		t.Helper()
		if err := errors.Join(os.Remove(filepath.Join(audit, "meta.inf")), os.Remove(filepath.Join(audit, "meta.sum"))); err != nil {
			t.Fatal(err)
		}
	}
	forget := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(dir, ledger.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, prepare := range []func(){undescribed, func() { undescribed(); forget() }} {
		prepare()
		s := start(t, at(t, dir))
		if n := messages(t, js(t, s), "AUDIT"); n != 20 || len(s.State().Findings) == 0 {
			t.Errorf("%d messages, %v", n, s.State().Findings)
		}
		stop(t, s)
	}
	undescribed()
	forget()
	before := tree(t, audit)
	_, err := server.Start(context.Background(), at(t, dir, toml("[bus]\ndefault_streams = false\n")), logTo(t))
	if !errors.Is(err, server.ErrNotRecovered) || !strings.Contains(err.Error(), "AUDIT") {
		t.Fatal(err)
	}
	if after := tree(t, audit); after != before {
		t.Errorf("changed:\n%s", after)
	}
	s = start(t, at(t, dir))
	stop(t, s)
	if err := os.RemoveAll(audit); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Start(context.Background(), at(t, dir), logTo(t)); !errors.Is(err, server.ErrLoss) || !strings.Contains(err.Error(), "AUDIT: the stream is not there any more, with messages 1 to 20") {
		t.Fatal(err)
	}
}
