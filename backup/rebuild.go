package backup

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A workshop is a throwaway nats-server in this process, without a port, on a folder of its own. Streams are rebuilt in it
// and compared with what was recorded, and what it has on its disk then is handed over as a whole: nats-server, which
// restores message by message only from 2.15 on, still takes a stream's files as well, and those all or nothing, with the
// duplicate window that their messages make, and without waiting for the disk after every message.
type workshop struct {
	client
	dir  string
	held *os.File
	srv  *natsserver.Server
}

const workshopName = "deltran-bus-workshop-"

func newWorkshop(temp string) (_ *workshop, err error) {
	temp = cmp.Or(temp, os.TempDir())
	sweep(temp)
	w := &workshop{}
	defer func() {
		if err != nil {
			w.remove()
		}
	}()
	if w.dir, err = os.MkdirTemp(temp, workshopName); err != nil {
		return nil, fmt.Errorf("a folder to rebuild streams in: %s: %w", temp, plain(err))
	}
	if w.held, err = os.Create(filepath.Join(w.dir, "lock")); err != nil {
		return nil, err
	}
	if err = lock(w.held); err != nil {
		return nil, err
	}
	w.srv, err = natsserver.NewServer(&natsserver.Options{
		ServerName: "deltran-bus-workshop", DontListen: true, NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
		JetStream: true, StoreDir: w.dir, JetStreamMaxStore: 1 << 60, JetStreamMaxMemory: 1 << 40,
		MaxPayload: 1 << 30, MaxPending: 2 << 30, SyncInterval: time.Hour,
	})
	if err != nil {
		return nil, err
	}
	w.srv.Start()
	if !w.srv.JetStreamEnabled() {
		return nil, fmt.Errorf("a throwaway nats-server in %s did not start", w.dir)
	}
	nc, err := nats.Connect("", nats.InProcessServer(w.srv), nats.Name("deltran-bus backup"))
	if err != nil {
		return nil, err
	}
	w.client = newClient(nc, time.Minute)
	return w, nil
}

// sweep removes the workshops of processes that were killed.
func sweep(temp string) {
	found, _ := filepath.Glob(filepath.Join(temp, workshopName+"*"))
	for _, dir := range found {
		f, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue // just being made, or somebody else's
		}
		if lock(f) == nil && canLock {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}

// build restores a stream under a name.
func (w *workshop) build(ctx context.Context, name string, p packed) error {
	var snap snapshot
	if err := json.Unmarshal(p.meta, &snap); err != nil {
		return err
	}
	cfg, err := parseConfig(snap.Config)
	if err != nil {
		return err
	}
	if p.legacy && name != p.name { // its files have its name in them
		return w.rename(ctx, name, p)
	}
	up, err := w.upload(ctx, name, cfg.plain(name), snap.State)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(newPaced(ctx, up, memoryBudget()), p.data, make([]byte, chunk)); err != nil {
		up.abandon()
		return err
	}
	_, err = up.finish()
	return err
}

// rename builds a stream under its own name and then again under the other.
func (w *workshop) rename(ctx context.Context, name string, p packed) error {
	if err := w.build(ctx, p.name, p); err != nil {
		return err
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := w.snapshot(ctx, p.name, 8<<20, nil, new(tally), pw)
		_ = pw.CloseWithError(err)
	}()
	err := w.build(ctx, name, packed{name: p.name, meta: p.meta, data: pr})
	_ = pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	return err
}

// look reads a rebuilt stream back.
func (w *workshop) look(ctx context.Context, name string, expired time.Time) (*content, error) {
	pr, pw := io.Pipe()
	go func() {
		_, err := w.snapshot(ctx, name, 8<<20, nil, new(tally), pw)
		_ = pw.CloseWithError(err)
	}()
	found, err := scan{expired: expired}.run(pr)
	_ = pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	return found, err
}

// stop ends the server; what it has written is complete then.
func (w *workshop) stop() {
	if w.nc != nil {
		w.nc.Close()
		w.nc = nil
	}
	if w.srv != nil {
		w.srv.Shutdown()
		w.srv.WaitForShutdown()
		w.srv = nil
	}
}

// remove ends the server and removes everything.
func (w *workshop) remove() {
	w.stop()
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
	if w.held != nil {
		_ = w.held.Close()
	}
}

func (w *workshop) folder(stream string) string {
	return filepath.Join(w.dir, natsserver.JetStreamStoreDir, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams", stream)
}

// pack writes a stream's files as nats-server before 2.15 packed them, all but the end: end writes that. What a
// nats-server makes anew from the messages, such as its index, is left out, so that it checks every one of them.
// It says when the stream was made, and otherwise describes it so that nats-server notices that it is to be configured
// otherwise, and writes that down.
func (w *workshop) pack(stream string, made time.Time, to io.Writer) (end func() error, err error) {
	z := s2.NewWriter(to, s2.WriterConcurrency(1))
	t := tar.NewWriter(z)
	dir := w.folder(stream)
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil || !belongs(filepath.ToSlash(rel)) {
			return err
		}
		if rel == natsserver.JetStreamMetaFile {
			return addMeta(t, file, made)
		}
		return addFile(t, filepath.ToSlash(rel), file)
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.Flush(), z.Flush()); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(t.Close(), z.Close()) }, nil
}

// belongs tells the files that a stream is made of from those that are made from them.
func belongs(name string) bool {
	return name == "meta.inf" || name == "meta.sum" || strings.HasPrefix(name, "obs/") || strings.HasPrefix(name, "msgs/") && strings.HasSuffix(name, ".blk")
}

func addMeta(t *tar.Writer, file string, made time.Time) error {
	b, err := os.ReadFile(file)
	if err == nil && !made.IsZero() {
		b, err = set(b, "Created", made)
	}
	if err == nil {
		b, err = set(b, "description", "being restored")
	}
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: natsserver.JetStreamMetaFile, Size: int64(len(b)), Mode: 0o600}); err != nil {
		return err
	}
	_, err = t.Write(b)
	return err
}

func addFile(t *tar.Writer, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 { // a block that was begun, and that nats-server cannot encrypt
		return nil
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: st.Size(), Mode: 0o600}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
