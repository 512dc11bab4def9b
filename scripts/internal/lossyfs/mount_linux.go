package lossyfs

import (
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Available says why there can be no mount on this machine, or nil.
func Available() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	tried := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and what it has tried with it
		tried <- unix.Unshare(unix.CLONE_NEWNS)
	}()
	if err := <-tried; err != nil {
		return fmt.Errorf("mounting, which takes root: %w", err)
	}
	return nil
}

// A Mounted is a Recorder that programs can use as a folder.
type Mounted struct {
	*Recorder
	dir     string
	server  *fuse.Server
	closing sync.Once
	closed  error
}

// Mount makes dir, an empty folder, show what base holds. Programs other than this one should use it: go-fuse says why.
func Mount(dir string, base *Tree) (*Mounted, error) {
	m := &Mounted{Recorder: NewRecorder(base), dir: dir}
	h := &handler{RawFileSystem: fuse.NewDefaultRawFileSystem(), Recorder: m.Recorder, lists: map[uint64][]Entry{}}
	var err error
	m.server, err = fuse.NewServer(h, dir, &fuse.MountOptions{
		FsName: "lossyfs", Name: "lossyfs", DirectMountStrict: true, MaxWrite: 1 << 20, AllowOther: true,
		DisableXAttrs: true, DisableReadDirPlus: true, Options: []string{"default_permissions"},
		Logger: log.New(os.Stderr, "lossyfs: ", 0),
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	go m.server.Serve()
	if err := m.server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), m.Close())
	}
	return m, nil
}

// Close takes the mount away, also from programs that still use it: their calls fail from then on. The record stays. More
// than once is fine.
func (m *Mounted) Close() error {
	m.closing.Do(func() { m.closed = m.close() })
	return m.closed
}

func (m *Mounted) close() error {
	if err := m.server.Unmount(); err == nil {
		return nil
	}
	if err := unix.Unmount(m.dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	m.server.Wait()
	return nil
}
