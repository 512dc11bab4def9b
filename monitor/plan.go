package monitor

import (
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/server"
)

// The functions below are all that the monitor knows of a bootstrap.Plan.

// held are the changes that the boot did not make, as the plan's own JSON has them.
func held(s server.State) []bootstrap.Change {
	if h := s.Plan.Held(bootstrap.Allow{}).Changes; h != nil {
		return h
	}
	return []bootstrap.Change{}
}

func heldCount(s server.State) int { return len(held(s)) }

// undeclared are the streams and consumers that nobody declared, named as Missing names them.
func undeclared(s server.State) []string {
	names := []string{}
	for _, r := range s.Plan.Undeclared {
		names = append(names, r.String())
	}
	return names
}
