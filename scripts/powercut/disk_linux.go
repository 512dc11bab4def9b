package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/scripts/internal/busproc"
	"golang.org/x/sys/unix"
)

const (
	imageBytes  = 1 << 30    // sparse
	fsShutdown  = 0x8004587d // FS_IOC_SHUTDOWN: _IOR('X', 125, __u32)
	withoutLogs = 2          // what is in memory of the journal is lost as well
)

// memory is where what is left after a cut is laid out: no power goes there any more, and an fsync costs nothing.
const memory = "/dev/shm"

func roomInMemory() bool {
	var fs unix.Statfs_t
	return unix.Statfs(memory, &fs) == nil && fs.Type == unix.TMPFS_MAGIC && fs.Bavail*uint64(fs.Bsize) > 4<<30
}

// A disk is a file system in a file, on a loop device that goes away with the mount.
type disk struct {
	image, dir string
	mounted    bool
}

func newDisk(ctx context.Context, work, kind string) (*disk, error) {
	mkfs, err := exec.LookPath("mkfs." + kind)
	if err != nil {
		return nil, notHere{err}
	}
	d := &disk{image: filepath.Join(work, kind+".img"), dir: filepath.Join(work, kind)}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, imageBytes); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, mkfs, "-q", d.image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", mkfs, err, out)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return nil, err
	}
	if err := d.mount(ctx); err != nil { // no loop devices, or the kernel does not know the file system
		return nil, notHere{errors.Join(err, d.close())}
	}
	return d, nil
}

func (d *disk) store() string { return filepath.Join(d.dir, storeDir) }

func (d *disk) mount(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "mount", "-o", "loop", d.image, d.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount -o loop: %w: %s", err, strings.TrimSpace(string(out)))
	}
	d.mounted = true
	return nil
}

// cut stops the server first: the answer to an fsync that is under way when the file system stops cannot be believed.
func (d *disk) cut(b *busproc.Bus) error {
	if err := b.Freeze(); err != nil {
		return err
	}
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	err = unix.IoctlSetPointerInt(int(f.Fd()), fsShutdown, withoutLogs)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("FS_IOC_SHUTDOWN: %w", err)
	}
	return b.Kill()
}

// again mounts what is left, as after the power has come back.
func (d *disk) again(ctx context.Context) error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount(ctx)
}

func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	d.mounted = false
	for range 100 { // a server that was killed may take a moment to let go
		if err := unix.Unmount(d.dir, 0); err != unix.EBUSY {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return unix.Unmount(d.dir, unix.MNT_DETACH)
}

func (d *disk) close() error { return errors.Join(d.unmount(), os.Remove(d.dir), os.Remove(d.image)) }
