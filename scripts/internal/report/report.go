// Package report prints one line per check and the count of them at the end.
package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFailed is what Close returns when a check failed, or when none was made.
var ErrFailed = errors.New("not every check passed")

// A Report counts checks as it prints them.
type Report struct {
	w              io.Writer
	passed, failed int
}

// New returns a Report that prints to w.
func New(w io.Writer) *Report { return &Report{w: w} }

// Check prints "ok   who  what", or FAIL and why when err is not nil, and says whether it passed.
func (r *Report) Check(who, what string, err error) bool {
	if err != nil {
		r.failed++
		why := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n       ")
		fmt.Fprintf(r.w, "FAIL %-9s %s: %s\n", who, what, why)
		return false
	}
	r.passed++
	fmt.Fprintf(r.w, "ok   %-9s %s\n", who, what)
	return true
}

// NotRun prints what could not be checked here, and why. It counts neither way.
func (r *Report) NotRun(who, what string, why error) {
	text := strings.ReplaceAll(strings.TrimSpace(why.Error()), "\n", "\n       ")
	fmt.Fprintf(r.w, "NOT RUN %s %s: %s\n", who, what, text)
}

// Close prints "N passed, N failed".
func (r *Report) Close() error {
	fmt.Fprintf(r.w, "%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 || r.passed == 0 {
		return ErrFailed
	}
	return nil
}
