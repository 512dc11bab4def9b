//go:build !linux

package backup

import (
	"errors"
	"os"
)

func nameless(string) (*os.File, error) { return nil, errors.ErrUnsupported }
func renameOnly(string, string) error   { return errors.ErrUnsupported }
