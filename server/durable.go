package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// nats-server syncs the messages of a file it has made, and not the folder that names the file. Some file systems keep
// both together (ext4 and xfs do); POSIX promises it of none. So whatever comes into being is made durable here too.

// syncTree makes what was written since then durable, or only the folders.
func syncTree(dir string, since time.Time, foldersOnly bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() && foldersOnly {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.ModTime().Before(since) {
			return ignoreGone(err)
		}
		return ignoreGone(syncPath(path, d.IsDir()))
	})
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncPath(path string, folder bool) error {
	flag := os.O_RDWR
	if folder {
		if runtime.GOOS == "windows" {
			return nil // it has no such thing
		}
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// streamDir is where the engine keeps a stream of the bus's account.
func (s *Server) streamDir(name string) string {
	return filepath.Join(s.opts.Load().StoreDir, natsserver.JetStreamStoreDir, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams", name)
}

// folders remembers when the folders of streams were changed last.
type folders map[string]time.Time

// sync makes the folders of a stream durable that have got or lost an entry since it was last asked: a new block, a new
// consumer.
func (f folders) sync(dir string) error {
	var errs []error
	look := func(path string) bool {
		info, err := os.Stat(path)
		if err != nil || info.ModTime().Equal(f[path]) {
			return false
		}
		if err := ignoreGone(syncPath(path, true)); err != nil {
			errs = append(errs, err)
			return false
		}
		f[path] = info.ModTime()
		return true
	}
	look(filepath.Dir(dir))
	look(dir)
	look(filepath.Join(dir, "msgs"))
	if obs := filepath.Join(dir, "obs"); look(obs) {
		if entries, err := os.ReadDir(obs); err == nil {
			for _, e := range entries {
				look(filepath.Join(obs, e.Name()))
			}
		}
	}
	return errors.Join(errs...)
}
