package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// reserveFile takes room beside the store for the day when there is none: a bus that finds its disk full when it
	// starts has that much to start in, and can at least be read from and purged.
	reserveFile = "deltran-bus.reserve"
	reserveSize = 4 << 20
	// leastRoom is what nats-server may need while it opens a store: tombstones of what has expired, a block, an index. A
	// stream that it cannot open for want of it, it deletes.
	leastRoom = 1 << 20
)

// room is an error if there is not enough to open a store in. The reserve is spent on it.
func (s *Server) room(ctx context.Context) error {
	v, err := roomOn(s.opts.Load().StoreDir)
	if err != nil || v.Free >= leastRoom {
		return nil // whoever does not say how much is free has to be believed
	}
	if os.Remove(filepath.Join(s.opts.Load().StoreDir, reserveFile)) == nil {
		s.log.Warn("the store's volume is full; what was kept in reserve is given back, to start in", "store", s.opts.Load().StoreDir)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for patience := time.After(2 * time.Second); err == nil && v.Free < leastRoom; v, err = roomOn(s.opts.Load().StoreDir) { // some file systems take their time
			select {
			case <-tick.C:
				continue
			case <-patience:
			case <-ctx.Done():
			}
			break
		}
	}
	if err == nil && v.Free < leastRoom {
		return fmt.Errorf("%w: %s are free, and nats-server needs %s to open a store without harm to it; make room on that volume", ErrNoRoom, humanize.IBytes(v.Free), humanize.IBytes(leastRoom))
	}
	return nil
}

// spare gives a part of the reserve back, if there is no room at all: for the ledger, which has to be able to say that a
// stream was deleted, and that the bus was stopped in order. Most of it stays for the next start.
func (s *Server) spare() (given bool) {
	const part = reserveSize / 8
	dir := s.State().Storage.Dir
	v, err := roomOn(dir)
	if err != nil || v.Free >= part {
		return false
	}
	path := filepath.Join(dir, reserveFile)
	info, err := os.Stat(path)
	return err == nil && info.Size() >= leastRoom+2*part && os.Truncate(path, info.Size()-part) == nil
}

// roomy reports whether there is enough to open a store in, even when somebody else takes of it meanwhile.
func roomy(v Room, dir string) bool {
	_, err := os.Stat(filepath.Join(dir, reserveFile))
	return v.Size == 0 || v.Free >= 2*leastRoom || err == nil
}

// keepReserve puts the reserve back where there is room for it, and looks once a minute whether it is there.
func (g *space) keepReserve(now time.Time, v Room, b bounds) {
	if b.keep == 0 || now.Before(g.reserve) {
		return
	}
	g.reserve = now.Add(time.Minute)
	size := int64(min(b.keep/4, reserveSize))
	path := filepath.Join(g.dir, reserveFile)
	if info, err := os.Stat(path); err == nil && info.Size() >= size || v.Free < b.again+uint64(size) || size < leastRoom {
		return
	}
	if err := makeReserve(path, size); err != nil {
		g.s.log.Debug("no reserve", "error", err)
	}
}

func makeReserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(allocate(f, size), f.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// writable reports whether the store can be written again: a file as large as a small block, to the disk and back.
func writable(dir string) error {
	path := filepath.Join(dir, "deltran-bus.probe")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 256<<10))
	err = errors.Join(err, f.Sync(), f.Close())
	if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// fillUp writes what no file system makes smaller.
func fillUp(f *os.File, size int64) error {
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		return err
	}
	_, err := f.WriteAt(b, 0)
	return err
}
