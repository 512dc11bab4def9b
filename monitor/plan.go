package monitor

import (
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/server"
)

// The functions below are all that the monitor knows of a bootstrap.Plan. What State.Plan still holds is what was held
// back: the boot has made the rest.

// held are the changes that the boot did not make, as the plan's own JSON has them.
func held(s server.State) []bootstrap.Change {
	if s.Plan.Changes != nil {
		return s.Plan.Changes
	}
	return []bootstrap.Change{}
}

// undeclared are the streams and consumers that nobody declared, named as Missing names them.
func undeclared(s server.State) []string {
	names := []string{}
	for _, r := range s.Plan.Undeclared {
		names = append(names, r.String())
	}
	return names
}
