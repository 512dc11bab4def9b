package atrest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// find lists the files of a store that hold a wrapped key, and its streams that are not encrypted. What nats-server keeps
// for clustering is none of them.
func find(store string) (all []file, plain []string, err error) {
	root := filepath.Join(store, "jetstream")
	accounts, err := folders(root)
	for _, account := range accounts {
		if account == "$SYS" || err != nil {
			continue
		}
		var streams []string
		dir := filepath.Join(root, account, "streams")
		streams, err = folders(dir)
		for _, name := range streams {
			at := filepath.Join(dir, name)
			if strings.HasPrefix(name, ".") || !exists(filepath.Join(at, "meta.inf")) || err != nil { // being deleted, or not made
				continue
			}
			if !exists(filepath.Join(at, "meta.key")) {
				plain = append(plain, name)
				continue
			}
			if err = of(&all, account, at); err != nil {
				continue
			}
			var batches []string // that were not committed
			batches, err = folders(filepath.Join(at, "batches"))
			for _, b := range batches {
				err = errors.Join(err, of(&all, account, filepath.Join(at, "batches", b)))
			}
		}
	}
	return all, plain, err
}

// of adds the key files of one of nats-server's file stores: its own, its blocks', its consumers'.
func of(all *[]file, account, dir string) error {
	name := filepath.Base(dir)
	add := func(path, context string) {
		if exists(path) {
			*all = append(*all, file{path, account + context})
		}
	}
	add(filepath.Join(dir, "meta.key"), name)
	msgs := filepath.Join(dir, "msgs")
	blocks, err := os.ReadDir(msgs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plainPath(err)
	}
	for _, b := range blocks {
		if number, ok := strings.CutSuffix(b.Name(), ".blk"); ok {
			add(filepath.Join(msgs, number+".key"), name+":"+number)
		}
	}
	consumers, err := folders(filepath.Join(dir, "obs"))
	for _, c := range consumers {
		add(filepath.Join(dir, "obs", c, "meta.key"), name+"."+c)
	}
	return err
}

// folders are the names of the folders in dir, none where there is no dir.
func folders(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	d, err := os.Open(dir)
	if err != nil {
		return plainPath(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// plainPath leaves the path out of a file error: the message around it has it.
func plainPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
