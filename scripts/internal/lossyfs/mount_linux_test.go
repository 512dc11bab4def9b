package lossyfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mount gives a test a mount of its own. On Linux as root with /dev/fuse these tests run, always.
func mount(t *testing.T) (*Mounted, string) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("NOT RUN: no file system can be mounted here: %v", err)
	}
	dir := t.TempDir()
	m, err := Mount(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("still mounted: %v, %v", entries, err)
		}
	})
	return m, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What programs ask for to be safe arrives as what the record calls Sync: by fsync, by fdatasync, by O_SYNC and O_DSYNC,
// of files and of folders.
func TestEverySyncIsRecorded(t *testing.T) {
	m, dir := mount(t)
	name := filepath.Join(dir, "f")
	tail := func(n int) (list []string) {
		for _, o := range m.Ops()[m.Len()-n:] {
			list = append(list, o.String())
		}
		return list
	}
	f, err := os.Create(name)
	must(t, err)
	_, err = f.WriteString("one")
	must(t, err)
	must(t, f.Sync())
	_, err = f.WriteString("two")
	must(t, err)
	must(t, syscall.Fdatasync(int(f.Fd())))
	must(t, f.Close())
	want := []string{"create 1/f as 2, mode 100644", "write 2, 3 bytes at 0", "fsync 2", "write 2, 3 bytes at 3", "fdatasync 2"}
	if diff := cmp.Diff(want, tail(5)); diff != "" {
		t.Error(diff)
	}
	for _, flag := range []struct {
		flag int
		name string
	}{{unix.O_SYNC, "fsync 2"}, {unix.O_DSYNC, "fdatasync 2"}} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC|flag.flag, 0)
		must(t, err)
		_, err = f.WriteString("three")
		must(t, err)
		must(t, f.Close())
		if diff := cmp.Diff([]string{"truncate 2 to 0", "write 2, 5 bytes at 0", flag.name}, tail(3)); diff != "" {
			t.Error(diff)
		}
	}
	d, err := os.Open(dir)
	must(t, err)
	must(t, d.Sync())
	must(t, d.Close())
	if diff := cmp.Diff([]string{"fsync 1"}, tail(1)); diff != "" {
		t.Error(diff)
	}
}

// The same calls at random, on the mount and on a folder of the system's own, answer alike and leave the same files; and
// what the record replays to is what the mount shows.
func TestBehavesAsOtherFileSystems(t *testing.T) {
	m, ours := mount(t)
	theirs := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/b"}
	name := func() string { return names[r.IntN(len(names))] }
	for i := range 4000 {
		var what string
		var do func(dir string) (string, error)
		at := func(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
		a, b, off, size := name(), name(), int64(r.IntN(10000)), r.IntN(10000)
		flag := []int{0, os.O_TRUNC, os.O_EXCL, os.O_APPEND, os.O_SYNC}[r.IntN(5)]
		text := bytes.Repeat([]byte{byte(i)}, size)
		switch r.IntN(10) {
		case 0:
			what, do = "mkdir "+a, func(dir string) (string, error) { return "", os.Mkdir(at(dir, a), 0o750) }
		case 1:
			what, do = "remove "+a, func(dir string) (string, error) { return "", os.Remove(at(dir, a)) }
		case 2, 3:
			what, do = "rename "+a+" "+b, func(dir string) (string, error) { return "", os.Rename(at(dir, a), at(dir, b)) }
		case 4:
			what, do = fmt.Sprint("truncate ", a, off), func(dir string) (string, error) { return "", os.Truncate(at(dir, a), off) }
		case 5:
			what, do = "link "+a+" "+b, func(dir string) (string, error) { return "", os.Link(at(dir, a), at(dir, b)) }
		case 6:
			what, do = "read "+a, func(dir string) (string, error) {
				data, err := os.ReadFile(at(dir, a))
				return string(data), err
			}
		case 7:
			what, do = "list "+a, func(dir string) (string, error) {
				list, err := os.ReadDir(at(dir, a))
				return fmt.Sprint(list), err
			}
		default:
			what, do = fmt.Sprintf("write %s %#x %d at %d", a, flag, size, off), func(dir string) (string, error) {
				f, err := os.OpenFile(at(dir, a), os.O_RDWR|os.O_CREATE|flag, 0o640)
				if err != nil {
					return "", err
				}
				if flag == os.O_APPEND {
					_, err = f.Write(text)
				} else {
					_, err = f.WriteAt(text, off)
				}
				return "", errors.Join(err, f.Sync(), f.Close())
			}
		}
		got, gotErr := do(ours)
		want, wantErr := do(theirs)
		if errno(gotErr) != errno(wantErr) || got != want {
			t.Fatalf("%d: %s: %q, %v; elsewhere %q, %v", i, what, short(got), gotErr, short(want), wantErr)
		}
	}
	want := contents(t, theirs)
	if diff := cmp.Diff(want, contents(t, ours)); diff != "" {
		t.Error(diff)
	}
	if len(want) < 3 {
		t.Errorf("too little is left to compare: %v", want)
	}
	for _, s := range []Semantics{Journal, Strict} {
		replayed := t.TempDir()
		must(t, Disk(m.Base(), m.Ops(), s, Keep).WriteTo(replayed))
		if diff := cmp.Diff(want, contents(t, replayed)); diff != "" {
			t.Errorf("%s: %s", s, diff)
		}
	}
	loaded, err := Load(theirs)
	must(t, err)
	if loaded.Hash() != Disk(m.Base(), m.Ops(), Journal, Keep).Hash() {
		t.Error("a loaded folder is another tree than the replayed one")
	}
}

func short(s string) string { return s[:min(len(s), 80)] }

func errno(err error) (no syscall.Errno) {
	errors.As(err, &no)
	return no
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		if d.IsDir() {
			files[rel+"/"] = info.Mode().String()
			return nil
		}
		data, err := os.ReadFile(p)
		files[rel] = info.Mode().String() + " " + string(data)
		return err
	}))
	return files
}

func TestWhatServersNeedOfAFileSystem(t *testing.T) {
	m, dir := mount(t)
	in := func(name string) string { return filepath.Join(dir, name) }

	f, err := os.Create(in("f"))
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	g, err := os.Open(in("f"))
	must(t, err)
	if err := unix.Flock(int(g.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("a second lock: %v", err)
	}
	must(t, g.Close())

	must(t, os.Remove(in("f")))
	_, err = f.WriteAt([]byte("still here"), 0)
	must(t, err)
	b := make([]byte, 20)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "still here" {
		t.Errorf("a file without a name reads %q", b[:n])
	}
	must(t, f.Close())

	must(t, os.Symlink("nowhere", in("l")))
	if to, err := os.Readlink(in("l")); err != nil || to != "nowhere" {
		t.Errorf("link to %q, %v", to, err)
	}
	must(t, os.WriteFile(in("p"), nil, 0o640))
	must(t, os.Chmod(in("p"), 0o400))
	if st, err := os.Stat(in("p")); err != nil || st.Mode() != 0o400 {
		t.Errorf("%v, %v", st.Mode(), err)
	}

	// Times tell what has changed, and can be set.
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, name := range []string{"p", "."} {
		must(t, os.Chtimes(in(name), past, past))
	}
	must(t, os.Chmod(in("p"), 0o600))
	if got := recent(t, in("p"), dir); got != [2]bool{false, false} {
		t.Errorf("permissions changed, and it seems %v", got)
	}
	must(t, os.WriteFile(in("p"), []byte("x"), 0))
	if got := recent(t, in("p"), dir); got != [2]bool{true, false} {
		t.Errorf("a file changed, and it seems %v", got)
	}
	must(t, os.Rename(in("p"), in("q")))
	if got := recent(t, in("q"), dir); got != [2]bool{true, true} {
		t.Errorf("a folder changed, and it seems %v", got)
	}

	// More entries than a reply holds, removed while they are read.
	must(t, os.Mkdir(in("many"), 0o700))
	for i := range 3000 {
		must(t, os.WriteFile(in(fmt.Sprintf("many/%0100d", i)), nil, 0o600))
	}
	d, err := os.Open(in("many"))
	must(t, err)
	gone := 0
	for {
		list, err := d.Readdirnames(100)
		for _, name := range list {
			must(t, os.Remove(filepath.Join(in("many"), name)))
			gone++
		}
		if err != nil {
			break
		}
	}
	must(t, d.Close())
	if gone != 3000 {
		t.Errorf("%d of 3000 entries were listed while they were removed", gone)
	}
	var fs unix.Statfs_t
	must(t, unix.Statfs(dir, &fs))
	if free := fs.Bavail * uint64(fs.Bsize); free < 1<<39 {
		t.Errorf("%d bytes free", free)
	}
	if got := m.Len(); got < 6000 {
		t.Errorf("%d operations recorded", got)
	}
}

// recent reports what was changed since less than half an hour.
func recent(t *testing.T, a, b string) (yes [2]bool) {
	t.Helper()
	for i, p := range []string{a, b} {
		st, err := os.Stat(p)
		must(t, err)
		yes[i] = time.Since(st.ModTime()) < 30*time.Minute
	}
	return yes
}

// A program that has files open does not keep the mount.
func TestCloseTakesTheMountAway(t *testing.T) {
	m, dir := mount(t)
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	must(t, m.Close())
	if _, err := f.WriteString("x"); err == nil {
		t.Error("written to a file system that is gone")
	}
}
