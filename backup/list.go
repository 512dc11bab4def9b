package backup

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Archive is one file of a folder of archives.
type Archive struct {
	File     string    `json:"file"`
	Size     int64     `json:"size"`
	Manifest *Manifest `json:"manifest,omitempty"`
	Problem  string    `json:"problem,omitempty"` // why there is no manifest
}

// Good reports whether an archive is finished and nothing was damaged when it was made. What Verify looks at, it does not.
func (a Archive) Good() bool { return a.Manifest != nil && len(a.Manifest.Damaged()) == 0 }

// List tells what archives a folder holds, the oldest first, and those last that are none. It reads only their ends: that
// they are whole, Verify says.
func List(dir string) ([]Archive, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	list := []Archive{}
	for _, e := range found {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasSuffix(name, ".tar.gz") && !strings.HasSuffix(name, ".tar.gz"+partial) {
			continue
		}
		a := Archive{File: filepath.Join(dir, name)}
		if info, err := e.Info(); err == nil {
			a.Size = info.Size()
		}
		if strings.HasSuffix(name, partial) {
			a.Problem = "not finished: it is being written, or the process that wrote it was killed"
		} else if m, err := readEnd(a.File); err == nil {
			a.Manifest = m
		} else {
			a.Problem = err.Error()
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b Archive) int {
		switch {
		case a.Manifest != nil && b.Manifest != nil:
			return a.Manifest.Moment.Compare(b.Manifest.Moment)
		case a.Manifest != nil:
			return -1
		case b.Manifest != nil:
			return 1
		}
		return 0
	})
	return list, nil
}

func readEnd(name string) (*Manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return lastManifest(f, st.Size())
}

// lastManifest reads the manifest of a file of that size without what stands before it: the seal tells where it begins.
func lastManifest(f io.ReaderAt, size int64) (*Manifest, error) {
	end := size - int64(sealSize)
	tail := make([]byte, sealSize)
	if end < 0 {
		return nil, bad("its end", "%w", errNoSeal)
	}
	if _, err := f.ReadAt(tail, end); err != nil {
		return nil, err
	}
	last, ok := opened(tail)
	if !ok || last < 0 || last >= end {
		return nil, bad("its end", "%w", errNoSeal)
	}
	z, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(f, last, end-last)))
	if err != nil {
		return nil, unreadable(manifestName, err)
	}
	t := tar.NewReader(z)
	h, err := t.Next()
	if err != nil || h.Name != manifestName {
		return nil, unreadable(manifestName, err)
	}
	b, err := whole(t, h, maxManifest)
	if err != nil {
		return nil, err
	}
	return parseManifest(b)
}
