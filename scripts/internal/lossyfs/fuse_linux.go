package lossyfs

import (
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// handler is a Recorder to the kernel, which calls nothing else on the mount, so that it may remember names and attributes.
type handler struct {
	fuse.RawFileSystem
	*Recorder

	mu    sync.Mutex
	next  uint64             // handle of an open folder
	lists map[uint64][]Entry // what it listed when it was read from its beginning
}

const remember = 1 << 30 // s

func status(err error) fuse.Status {
	var no syscall.Errno
	switch {
	case err == nil:
		return fuse.OK
	case errors.As(err, &no):
		return fuse.Status(no)
	}
	return fuse.EIO
}

func (h *handler) String() string { return "lossyfs" }

func (h *handler) attr(st Stat, out *fuse.Attr) {
	*out = fuse.Attr{Ino: st.Ino, Size: uint64(st.Size), Blocks: uint64(st.Size+511) / 512, Mode: st.Mode, Nlink: st.Links, Blksize: page}
	out.SetTimes(&st.Changed, &st.Changed, &st.Changed)
}

func (h *handler) entry(st Stat, err error, out *fuse.EntryOut) fuse.Status {
	if err != nil {
		return status(err)
	}
	out.NodeId, out.EntryValid, out.AttrValid = st.Ino, remember, remember
	h.attr(st, &out.Attr)
	return fuse.OK
}

func (h *handler) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	st, err := h.Recorder.Lookup(in.NodeId, name)
	return h.entry(st, err, out)
}

func (h *handler) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return h.attrOut(in.NodeId, out)
}

func (h *handler) attrOut(ino uint64, out *fuse.AttrOut) fuse.Status {
	st, err := h.Recorder.Stat(ino)
	if err != nil {
		return status(err)
	}
	out.AttrValid = remember
	h.attr(st, &out.Attr)
	return fuse.OK
}

// SetAttr takes the owner without keeping it: nothing here looks at that.
func (h *handler) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if mode, ok := in.GetMode(); ok {
		if err := h.Chmod(in.NodeId, mode); err != nil {
			return status(err)
		}
	}
	if size, ok := in.GetSize(); ok {
		if err := h.Truncate(in.NodeId, int64(size)); err != nil {
			return status(err)
		}
	}
	if t, ok := in.GetMTime(); ok {
		if err := h.SetChanged(in.NodeId, t); err != nil {
			return status(err)
		}
	}
	return h.attrOut(in.NodeId, out)
}

func (h *handler) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	st, err := h.Make(in.NodeId, name, typeDir|in.Mode&^typeMask, "")
	return h.entry(st, err, out)
}

func (h *handler) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	st, err := h.Make(in.NodeId, name, in.Mode, "")
	return h.entry(st, err, out)
}

func (h *handler) Symlink(_ <-chan struct{}, in *fuse.InHeader, to, name string, out *fuse.EntryOut) fuse.Status {
	st, err := h.Make(in.NodeId, name, typeLink|0o777, to)
	return h.entry(st, err, out)
}

func (h *handler) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	to, err := h.Recorder.Readlink(in.NodeId)
	return []byte(to), status(err)
}

func (h *handler) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	st, err := h.Recorder.Link(in.Oldnodeid, in.NodeId, name)
	return h.entry(st, err, out)
}

func (h *handler) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(h.Remove(in.NodeId, name, false))
}

func (h *handler) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(h.Remove(in.NodeId, name, true))
}

func (h *handler) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, toName string) fuse.Status {
	const noReplace = 1
	if in.Flags&^noReplace != 0 {
		return fuse.EINVAL
	}
	return status(h.Recorder.Rename(in.NodeId, name, in.Newdir, toName, in.Flags&noReplace != 0))
}

func (h *handler) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	st, err := h.Make(in.NodeId, name, typeFile|in.Mode&^typeMask, "")
	if err == nil {
		h.Recorder.Open(st.Ino)
	}
	return h.entry(st, err, &out.EntryOut)
}

func (h *handler) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_TRUNC != 0 {
		if err := h.Truncate(in.NodeId, 0); err != nil {
			return status(err)
		}
	}
	h.Recorder.Open(in.NodeId)
	return fuse.OK
}

func (h *handler) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { h.Recorder.Release(in.NodeId) }

func (h *handler) Read(_ <-chan struct{}, in *fuse.ReadIn, b []byte) (fuse.ReadResult, fuse.Status) {
	n, err := h.ReadAt(in.NodeId, b, int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, status(err)
	}
	return fuse.ReadResultData(b[:n]), fuse.OK
}

// Write leaves O_SYNC and O_DSYNC to the kernel, which calls Fsync after it.
func (h *handler) Write(_ <-chan struct{}, in *fuse.WriteIn, b []byte) (uint32, fuse.Status) {
	return uint32(len(b)), status(h.WriteAt(in.NodeId, b, int64(in.Offset)))
}

func (h *handler) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	const dataOnly = 1
	return status(h.Sync(in.NodeId, in.FsyncFlags&dataOnly != 0))
}

func (h *handler) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return h.Fsync(cancel, in)
}

func (h *handler) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	return status(h.Allocate(in.NodeId, int64(in.Offset+in.Length)))
}

func (h *handler) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (h *handler) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	out.Fh = h.next
	return fuse.OK
}

func (h *handler) ReleaseDir(in *fuse.ReleaseIn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lists, in.Fh)
}

// ReadDir goes on in the list that it began with, whatever is removed meanwhile.
func (h *handler) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Offset == 0 {
		list, err := h.List(in.NodeId)
		if err != nil {
			return status(err)
		}
		h.lists[in.Fh] = list
	}
	list := h.lists[in.Fh]
	for i := in.Offset; i < uint64(len(list)); i++ {
		if e := list[i]; !out.AddDirEntry(fuse.DirEntry{Name: e.Name, Ino: e.Ino, Mode: e.Mode}) {
			break
		}
	}
	return fuse.OK
}

// StatFs says that there is room for any test.
func (h *handler) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 1 << 40 / page
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks, Bavail: blocks, Files: blocks, Ffree: blocks, Bsize: page, Frsize: page, NameLen: 255}
	return fuse.OK
}
