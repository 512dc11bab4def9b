package lossyfs

import (
	"io"
	"slices"
	"syscall"
)

func (r *Recorder) file(ino uint64) (*node, error) {
	n := r.live.nodes[ino]
	switch {
	case n == nil:
		return nil, syscall.ENOENT
	case n.isDir():
		return nil, syscall.EISDIR
	}
	return n, nil
}

// ReadAt is pread, and io.EOF at the end.
func (r *Recorder) ReadAt(ino uint64, b []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.file(ino)
	switch {
	case err != nil:
		return 0, err
	case off >= int64(len(n.data)):
		return 0, io.EOF
	}
	return copy(b, n.data[off:]), nil
}

// WriteAt is pwrite; b is copied.
func (r *Recorder) WriteAt(ino uint64, b []byte, off int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.file(ino); err != nil {
		return err
	}
	if len(b) > 0 {
		r.do(Op{Kind: Write, Ino: ino, Off: off, Data: slices.Clone(b)})
	}
	return nil
}

// Truncate makes a file as long as size, with zeroes at the end where it was shorter.
func (r *Recorder) Truncate(ino uint64, size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.file(ino)
	if err != nil {
		return err
	}
	if size != int64(len(n.data)) {
		r.do(Op{Kind: Truncate, Ino: ino, Size: size})
	}
	return nil
}

// Allocate makes a file at least as long as size.
func (r *Recorder) Allocate(ino uint64, size int64) error {
	st, err := r.Stat(ino)
	if err != nil || st.Size >= size {
		return err
	}
	return r.Truncate(ino, size)
}

// Chmod changes the permissions, and never the type.
func (r *Recorder) Chmod(ino uint64, mode uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.live.nodes[ino]
	if n == nil {
		return syscall.ENOENT
	}
	r.do(Op{Kind: Chmod, Ino: ino, Mode: n.mode&typeMask | mode&^typeMask})
	return nil
}

// Sync is fsync, or fdatasync.
func (r *Recorder) Sync(ino uint64, dataOnly bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live.nodes[ino] == nil {
		return syscall.ENOENT
	}
	r.do(Op{Kind: Sync, Ino: ino, DataOnly: dataOnly})
	return nil
}

// Readlink is what a symbolic link points to.
func (r *Recorder) Readlink(ino uint64) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.live.nodes[ino]
	if n == nil || n.mode&typeMask != typeLink {
		return "", syscall.EINVAL
	}
	return n.target, nil
}
