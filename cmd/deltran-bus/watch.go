package main

import (
	"crypto/sha256"
	"maps"
	"os"
	"time"

	"github.com/deltran/deltran-bus/config"
)

// watcher looks at the files that a declaration names: certificates, keys, secrets. It reads them, rather than asking for
// their times: links are swapped, and copies keep times.
type watcher struct {
	tick  *time.Ticker                 // nil: it does not look
	seen  map[string][sha256.Size]byte // what was in them at the last look,
	taken map[string][sha256.Size]byte // and when they were taken
}

// use has it look at the files of that declaration from now on.
func (w *watcher) use(cfg *config.Config) {
	w.stop()
	w.taken = sums(cfg.Files())
	w.seen = w.taken
	if len(w.taken) > 0 && cfg.Bus.WatchFiles > 0 {
		w.tick = time.NewTicker(cfg.Bus.WatchFiles)
	}
}

func (w *watcher) stop() {
	if w.tick != nil {
		w.tick.Stop()
		w.tick = nil
	}
}

// due is when to look again; never where there is nothing to look at.
func (w *watcher) due() <-chan time.Time {
	if w.tick == nil {
		return nil
	}
	return w.tick.C
}

// changed are the files, in order, that are others than those taken and the same as at the last look: a certificate and its
// key are two files, written one after the other. What changed is reported once.
func (w *watcher) changed(cfg *config.Config) (files []string) {
	now := sums(cfg.Files())
	settled := maps.Equal(now, w.seen)
	w.seen = now
	if !settled {
		return nil
	}
	for _, name := range cfg.Files() {
		if now[name] != w.taken[name] {
			files = append(files, name)
		}
	}
	w.taken = now
	return files
}

// sums is what is in the files; of one that cannot be read, nothing.
func sums(files []string) map[string][sha256.Size]byte {
	out := map[string][sha256.Size]byte{}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() { // a pipe would keep us waiting, and is read once
			continue
		}
		if b, err := os.ReadFile(name); err == nil {
			out[name] = sha256.Sum256(b)
		}
	}
	return out
}
