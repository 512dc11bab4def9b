package main

import (
	"slices"
	"testing"

	"github.com/deltran/deltran-bus/access"
	"github.com/deltran/deltran-bus/audit"
)

// What services may not publish is where the bus records, those of dead letters included.
func TestRecordsAreTheBuss(t *testing.T) {
	t.Parallel()
	own := append(audit.Subjects(), "events.audit.dead-letter.*")
	slices.Sort(own)
	if !slices.Equal(own, access.Records()) {
		t.Errorf("the bus records at %v, and services may not publish %v", own, access.Records())
	}
}
