package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// addresses is what the ports file holds: where a bus that picked its ports itself can be found.
type addresses struct {
	PID     int    `json:"pid"`
	Client  string `json:"client"`            // nats://127.0.0.1:41234
	Monitor string `json:"monitor,omitempty"` // http://127.0.0.1:38123
}

// portsFile is the file of --ports-file; without a name it does nothing.
type portsFile struct {
	name, origin string
	written      bool
}

// probe finds out before anything is touched whether the file can be written.
func (p *portsFile) probe() error {
	if p.name == "" {
		return nil
	}
	if st, err := os.Stat(p.name); err == nil && st.IsDir() {
		return fmt.Errorf("%s %s: is a folder; name a file", p.origin, p.name)
	}
	f, err := p.temporary()
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// write writes it whole or not at all: whoever waits for it may read it at once.
func (p *portsFile) write(a addresses) error {
	if p.name == "" {
		return nil
	}
	f, err := p.temporary()
	if err != nil {
		return err
	}
	err = errors.Join(writeJSON(f, a), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), p.name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s %s: cannot be written: %w", p.origin, p.name, err)
	}
	p.written = true
	return nil
}

// remove takes it back: nobody is there any more.
func (p *portsFile) remove() {
	if p.written {
		_ = os.Remove(p.name)
	}
}

func (p *portsFile) temporary() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(p.name), "."+filepath.Base(p.name)+"-*")
	if err != nil {
		return nil, fmt.Errorf("%s %s: cannot be written: %w", p.origin, p.name, plainPath(err))
	}
	return f, nil
}
