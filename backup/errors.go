package backup

import (
	"errors"
	"fmt"
)

var (
	// ErrBad is wrapped by everything that is wrong with an archive itself: cut off, changed, not an archive at all.
	ErrBad = errors.New("the archive is not whole")
	// ErrDamaged is wrapped when a stream holds fewer messages than its NATS says: some cannot be read any more.
	ErrDamaged = errors.New("damaged in its store")
	// ErrExists is wrapped by Restore when a stream is there already and Replace was not asked for.
	ErrExists = errors.New("there already")
	// ErrNoStream is wrapped when a stream was named that is not there, in the NATS or in the archive.
	ErrNoStream = errors.New("no such stream")
)

// bad is an error about the archive at a place in it.
func bad(at, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrBad, at, fmt.Errorf(format, args...))
}
