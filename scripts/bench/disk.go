package main

import (
	"errors"
	"os"
	"time"
)

// diskRate is how often a second the disk makes 256 bytes durable that were appended to one file: what "always" can
// reach at most with one message after another, whoever the server is.
func diskRate(dir string, b bound) (_ float64, err error) {
	f, err := os.CreateTemp(dir, "disk-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 256)
	n := 0
	begun := time.Now()
	for ; n < b.messages && time.Since(begun) < b.time; n++ {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syncData(f); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
