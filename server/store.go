package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockFile is locked while a process has the store; a dead one never holds it. Who has it stands in the file, after the
// one byte that is locked where locks are mandatory.
const lockFile = "deltran-bus.lock"

// takeStore finds the store folder, makes it where it may, and locks it. A folder it made and could not take is gone
// again.
func (s *Server) takeStore() error {
	o := s.opts.Load()
	dir := o.StoreDir
	fresh, err := inspectStore(dir)
	if err != nil {
		return fmt.Errorf("store %s: %w", dir, err)
	}
	if fresh && s.Config().Bus.StoreMustExist {
		return fmt.Errorf("store %s: %w, and [bus] store_must_exist says there has to be one; mount the volume, or make the first store with serve --init", dir, ErrStoreMissing)
	}
	made, err := makeDir(dir)
	if err != nil {
		return fmt.Errorf("store %s: cannot be made: %w; make it for the user the bus runs as, or name another folder", dir, plainPath(err))
	}
	if s.lock, err = lockStore(dir); err != nil {
		for _, d := range slices.Backward(made) {
			_ = os.Remove(d)
		}
		return fmt.Errorf("store %s: %w", dir, err)
	}
	if o.SyncAlways {
		for _, d := range made { // its own name has to last as well; a folder above that this user cannot open is not ours to sync
			_ = syncPath(filepath.Dir(d), true)
		}
	}
	s.taken = time.Now()
	s.set(func(st *State) {
		st.Storage = Storage{Dir: dir, New: fresh, SyncAlways: o.SyncAlways, Sync: o.SyncInterval, Encrypted: o.JetStreamKey != "", Limit: o.JetStreamMaxStore}
	})
	return nil
}

// inspectStore reports whether there is no store yet. Somebody else's files are an error: a mistyped folder must not
// be mixed with a store.
func inspectStore(dir string) (fresh bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if to, err := os.Readlink(dir); err == nil {
			return false, fmt.Errorf("is a link to %s, which is not there; mount or make that, or name another folder", to)
		}
		return true, nil
	case err != nil:
		if st, serr := os.Stat(dir); serr == nil && !st.IsDir() {
			return false, errors.New("is a file; a store is a folder")
		}
		return false, fmt.Errorf("cannot be read: %w", plainPath(err))
	}
	var foreign []string
	for _, e := range entries {
		name := e.Name()
		if name == "jetstream" && e.IsDir() {
			return false, nil
		}
		if !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "deltran-bus.") && name != "lost+found" {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 {
		more := ""
		if len(foreign) > 3 {
			foreign, more = foreign[:3], ", …"
		}
		return false, fmt.Errorf("holds other files (%s%s) and no store; name an empty folder, or one with a jetstream folder in it", strings.Join(foreign, ", "), more)
	}
	return true, nil
}

// makeDir makes the folder and those above it; it returns the ones it made, the uppermost first.
func makeDir(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); err == nil || !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append([]string{d}, made...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		for _, d := range slices.Backward(made) {
			_ = os.Remove(d)
		}
		return nil, err
	}
	return made, nil
}

// A holder is who has the store.
type holder struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// storeLock is the lock of a store: its file, and the folder itself, which nobody deletes in good faith, where the
// system locks folders.
type storeLock struct{ file, folder *flock.Flock }

func (l *storeLock) Close() error {
	return errors.Join(l.folder.Close(), l.file.Close())
}

// lockStore takes the lock, or says who has it.
func lockStore(dir string) (*storeLock, error) {
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot be locked: %w", plainPath(err))
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s has it; stop that one, or use another folder", ErrInUse, readHolder(path))
	}
	if err := writeHolder(path, holder{os.Getpid(), time.Now().UTC().Truncate(time.Second)}); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot be written: %w", plainPath(err)), lock.Close())
	}
	folder := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	if ok, err := folder.TryLock(); err == nil && !ok {
		return nil, errors.Join(fmt.Errorf("%w: another process has it, and its %s was deleted; stop that process, or use another folder", ErrInUse, lockFile), lock.Close())
	}
	return &storeLock{lock, folder}, nil
}

// writeHolder writes in place and to a fixed length, over the one before: making a file anew takes longer than the lock.
func writeHolder(path string, h holder) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	b, err := json.Marshal(h)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%-79s\n", b), 1)
	}
	return errors.Join(err, f.Close())
}

func readHolder(path string) string {
	const unknown = "another process"
	f, err := os.Open(path)
	if err != nil {
		return unknown
	}
	defer f.Close()
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 1)
	var h holder
	if json.Unmarshal(b[:n], &h) != nil || h.PID <= 0 {
		return unknown
	}
	return fmt.Sprintf("process %d, since %s", h.PID, h.Started.Local().Format("2006-01-02 15:04:05"))
}

// plainPath leaves the path out of a file error: the message around it has it.
func plainPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
