package server

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

type lock struct{ f *os.File }

func lockStore(dir string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "deltran-bus.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := os.ReadFile(f.Name())
		f.Close()
		return nil, fmt.Errorf("store %s is in use by %s", dir, who)
	}
	_ = f.Truncate(0)
	fmt.Fprintf(f, "pid %d", os.Getpid())
	return &lock{f}, nil
}

func (l *lock) Close() {
	if l != nil {
		l.f.Close()
	}
}
