package lossyfs

import (
	"syscall"
	"time"
)

// Make creates a file, a folder or a symbolic link to target, as the type in mode says.
func (r *Recorder) Make(dir uint64, name string, mode uint32, target string) (Stat, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch mode & typeMask {
	case typeFile, typeDir, typeLink:
	default:
		return Stat{}, syscall.EPERM
	}
	if err := r.free(dir, name); err != nil {
		return Stat{}, err
	}
	ino := r.live.next
	r.do(Op{Kind: Create, Ino: ino, Dir: dir, Name: name, Mode: mode, Target: target})
	return r.stat(ino), nil
}

// Link gives an inode one more name.
func (r *Recorder) Link(ino, dir uint64, name string) (Stat, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := r.live.nodes[ino]; {
	case n == nil || n.links == 0:
		return Stat{}, syscall.ENOENT
	case n.isDir():
		return Stat{}, syscall.EPERM
	}
	if err := r.free(dir, name); err != nil {
		return Stat{}, err
	}
	r.do(Op{Kind: Link, Ino: ino, Dir: dir, Name: name})
	return r.stat(ino), nil
}

// Remove is unlink for files and links, and rmdir for folders.
func (r *Recorder) Remove(dir uint64, name string, folder bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ino, err := r.look(dir, name)
	switch {
	case err != nil:
		return err
	case folder && !n.isDir():
		return syscall.ENOTDIR
	case !folder && n.isDir():
		return syscall.EISDIR
	case len(n.entries) > 0:
		return syscall.ENOTEMPTY
	}
	r.do(Op{Kind: Remove, Ino: ino, Dir: dir, Name: name})
	r.forget(ino)
	return nil
}

// Rename gives an entry another name, over what is there unless keep says to leave that alone.
func (r *Recorder) Rename(dir uint64, name string, toDir uint64, toName string, keep bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ino, err := r.look(dir, name)
	if err != nil {
		return err
	}
	if _, err := r.dir(toDir); err != nil {
		return err
	}
	if n.isDir() {
		for d := toDir; d != Root; d = r.live.nodes[d].parent {
			if d == ino {
				return syscall.EINVAL // into itself
			}
		}
	}
	there, replaced, err := r.look(toDir, toName)
	switch {
	case err != nil: // nothing is there
	case keep:
		return syscall.EEXIST
	case ino == replaced:
		return nil
	case n.isDir() && !there.isDir():
		return syscall.ENOTDIR
	case !n.isDir() && there.isDir():
		return syscall.EISDIR
	case len(there.entries) > 0:
		return syscall.ENOTEMPTY
	}
	r.do(Op{Kind: Rename, Ino: ino, Dir: dir, Name: name, ToDir: toDir, ToName: toName, Replaced: replaced})
	r.forget(replaced)
	return nil
}

// SetChanged is utimes. It is not recorded: a disk has the time at which bytes or names were changed.
func (r *Recorder) SetChanged(ino uint64, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.live.nodes[ino]
	if n == nil {
		return syscall.ENOENT
	}
	n.changed = t
	return nil
}
