package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrDamaged: neither of the last two pages can be read.
var ErrDamaged = errors.New("the ledger is damaged")

// Book is the ledger of one store. Its methods are for one goroutine at a time.
type Book struct {
	dir              string
	page, stop, keep pair
	// Damaged are files that could not be read when it was opened, though the other of the pair could.
	Damaged []string
}

// Open finds the ledger in a store folder. ok is false where there is none: the store is new, or was not kept by us.
// It writes nothing. The error is ErrDamaged, or the file system's.
func Open(store string) (b *Book, page Page, ok bool, err error) {
	dir := filepath.Join(store, Dir)
	b = &Book{dir: dir}
	b.page, b.stop, b.keep = pair{dir: dir, name: "page"}, pair{dir: dir, name: "stop"}, pair{dir: dir, name: "keep"}
	ok, damaged, err := b.page.read(&page)
	if err == nil && !ok && len(damaged) > 0 {
		err = fmt.Errorf("%w: %s", ErrDamaged, strings.Join(damaged, ", "))
	}
	b.Damaged = damaged
	return b, page, ok, err
}

// Write makes a page durable.
func (b *Book) Write(p Page) error { return b.page.write(p) }

// Look says, without making it durable, that the last page still was true at that time.
func (b *Book) Look(now time.Time) error {
	return os.Chtimes(b.page.path(b.page.generation), now, now)
}

// Looked is when somebody looked last; the time of the last page where that is not known.
func (b *Book) Looked() time.Time {
	info, err := os.Stat(b.page.path(b.page.generation))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
