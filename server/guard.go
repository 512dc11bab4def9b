package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// leastFiles is how many open files a process has to be allowed before it may touch a store: nats-server deletes a stream
// that it cannot open for want of them.
const leastFiles = 256

func enoughFiles() error {
	if n, limited := openFiles(); limited && n < leastFiles {
		return fmt.Errorf("this process may open %d files, and needs %d at least: nats-server deletes streams that it cannot open; raise ulimit -n, or LimitNOFILE in a systemd unit", n, leastFiles)
	}
	return nil
}

// inspect looks at what nats-server is about to open. It deletes streams of which it cannot read or write a file, so
// every file has to be ours before it starts. The streams that hold messages come back, with their folders: all of
// them have to be there afterwards.
func inspect(store string) (streams map[string]string, err error) {
	streams = map[string]string{}
	root := filepath.Join(store, natsserver.JetStreamStoreDir)
	var unusable []string
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			return fs.SkipAll
		}
		if err == nil {
			err = usable(path, d.IsDir())
		}
		if err != nil {
			unusable = append(unusable, fmt.Sprintf("%s: %v", path, plainPath(err)))
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if name, ok := blockOf(root, path, d); ok {
			streams[name] = filepath.Join(root, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams", name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := len(unusable); n > 0 {
		if n > 3 {
			unusable = append(unusable[:3], fmt.Sprintf("and %d more", n-3))
		}
		return nil, fmt.Errorf("%w: not every file of it can be read and written by this user, and nats-server deletes streams that it cannot open; give them back with chown or chmod:\n  %s",
			ErrNotRecovered, strings.Join(unusable, "\n  "))
	}
	return streams, nil
}

// blockOf is the stream, of the bus's account, whose messages the file holds.
func blockOf(root, path string, d fs.DirEntry) (stream string, ok bool) {
	if d.IsDir() || filepath.Ext(path) != ".blk" {
		return "", false
	}
	rel, err := filepath.Rel(filepath.Join(root, natsserver.DEFAULT_GLOBAL_ACCOUNT, "streams"), path)
	parts := strings.Split(rel, string(filepath.Separator))
	if err != nil || len(parts) != 3 || parts[1] != "msgs" || strings.HasPrefix(parts[0], ".") { // that one is being deleted
		return "", false
	}
	info, err := d.Info()
	return parts[0], err == nil && info.Size() > 0
}

// notBack finds the streams that held messages before NATS started and are not there now: one created in its place would
// be empty, and delete what is left.
func (s *Server) notBack(before map[string]string) (found []ledger.Finding, err error) {
	jsz, err := s.NATS().Jsz(&natsserver.JSzOptions{Account: natsserver.DEFAULT_GLOBAL_ACCOUNT, Streams: true})
	if err != nil {
		return nil, fmt.Errorf("nats-server: %w", err)
	}
	for _, acc := range jsz.AccountDetails {
		for _, st := range acc.Streams {
			delete(before, st.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		f := ledger.Finding{Kind: ledger.Gone, Stream: name, File: before[name], Holds: true, Found: time.Now()}
		f.What = "the stream did not come back, although its folder holds messages: " + f.File
		if _, err := os.Stat(f.File); errors.Is(err, fs.ErrNotExist) {
			f.What = "the stream did not come back: nats-server has deleted " + f.File
		}
		found = append(found, f)
	}
	return found, nil
}
