package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// clearHalfMade takes away what a crash left of streams that were being made: nats-server does not open such a folder, says
// that the store is not healthy, and so no start would ever succeed again. Nobody has been told that such a stream exists:
// without both meta files it has no configuration, the ledger does not know it, and only those without a message and without
// a consumer are touched. The same for a stream that was being deleted, as the ledger says somebody asked, or as the folder
// shows where the ledger has not even heard of the stream yet; and for the file by which nats-server finds out whether it can
// write.
func clearHalfMade(store string, page ledger.Page) (cleared []string, err error) {
	root := filepath.Join(store, natsserver.JetStreamStoreDir)
	tests, err := filepath.Glob(filepath.Join(root, "_test_*"))
	if err != nil {
		return nil, err
	}
	for _, path := range tests {
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			if err := os.Remove(path); err != nil {
				return cleared, err
			}
			cleared = append(cleared, path)
		}
	}
	streams, err := filepath.Glob(filepath.Join(root, "*", "streams", "*"))
	if err != nil {
		return cleared, err
	}
	for _, dir := range streams {
		half, err := halfMade(dir)
		line, known := page.Stream(filepath.Base(dir))
		switch ours := filepath.Base(filepath.Dir(filepath.Dir(dir))) == natsserver.DEFAULT_GLOBAL_ACCOUNT; {
		case ours && known:
			half = line.Going && (half || isGone(dir, natsserver.JetStreamMetaFile)) // half deleted, or half made anew
		case ours && !page.Clean && !page.Written.IsZero():
			// Made and deleted within the ledger's second: nats-server begins with this one file.
			half = half || isGone(dir, natsserver.JetStreamMetaFile) && !isGone(dir, natsserver.JetStreamMetaFileSum)
		}
		if err != nil {
			return cleared, err
		}
		if !half {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return cleared, err
		}
		cleared = append(cleared, dir)
	}
	return cleared, nil
}

func isGone(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return errors.Is(err, fs.ErrNotExist)
}

func halfMade(dir string) (bool, error) {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() || strings.HasPrefix(filepath.Base(dir), ".") {
		return false, err
	}
	missing := 0
	for _, name := range []string{natsserver.JetStreamMetaFile, natsserver.JetStreamMetaFileSum} {
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			missing++
		} else if err != nil {
			return false, err
		}
	}
	if missing == 0 {
		return false, nil
	}
	empty := true
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch parts := strings.Split(rel, string(filepath.Separator)); {
		case len(parts) < 2 || d.IsDir() && len(parts) == 1:
		case parts[0] == "obs":
			empty = false
		case !d.IsDir():
			info, err := d.Info()
			if err != nil {
				return err
			}
			empty = empty && info.Size() == 0
		}
		return nil
	})
	return empty, err
}
