package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Accepted is somebody's word that a loss is one, and that the bus shall go on without.
type Accepted struct {
	Page    string    `json:"page"` // the ID of the page that promised more
	Streams []string  `json:"streams,omitempty"`
	Clock   bool      `json:"clock,omitempty"`
	At      time.Time `json:"at"`
}

const acceptFile = "accept"

// Accept leaves word for the bus that holds, or for the next start. What was accepted for the same page before stays
// accepted.
func (b *Book) Accept(a Accepted) error {
	if had, err := b.Accepted(); err != nil {
		return err
	} else if had.Page == a.Page {
		a.Streams = append(a.Streams, had.Streams...)
		a.Clock = a.Clock || had.Clock
	}
	slices.Sort(a.Streams)
	a.Streams = slices.Compact(a.Streams)
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := filepath.Join(b.dir, acceptFile)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(b.dir)
}

// Accepted is what was left by Accept and not used yet; the zero value if there is none.
func (b *Book) Accepted() (a Accepted, err error) {
	body, err := os.ReadFile(filepath.Join(b.dir, acceptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(b.dir, acceptFile), err)
	}
	return a, err
}

// UseUp takes away what was accepted: it holds for one page and one start.
func (b *Book) UseUp() error {
	err := os.Remove(filepath.Join(b.dir, acceptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(b.dir)
}

// Covers reports whether a finding was accepted.
func (a Accepted) Covers(page string, f Finding) bool {
	if a.Page != page {
		return false
	}
	if f.Kind == Clock {
		return a.Clock
	}
	return slices.Contains(a.Streams, f.Stream)
}
