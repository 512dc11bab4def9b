package monitor

import (
	"github.com/deltran/deltran-bus/bootstrap"
	"github.com/deltran/deltran-bus/server"
)

// The three functions below are all that the monitor knows of a bootstrap.Plan.

// held are the changes that the boot did not make, as the plan's own JSON has them.
func held(s server.State) any {
	if h := s.Plan.Of(bootstrap.Lossy, bootstrap.Conflict); len(h) > 0 {
		return h
	}
	return []any{}
}

func heldCount(s server.State) int { return len(s.Plan.Of(bootstrap.Lossy, bootstrap.Conflict)) }

// undeclared are the streams and consumers that nobody declared, named as Missing names them.
func undeclared(s server.State) []string {
	names := []string{}
	for _, c := range s.Plan.Of(bootstrap.Unmanaged) {
		if c.Consumer == "" {
			names = append(names, "stream "+c.Stream)
		} else {
			names = append(names, "consumer "+c.Stream+"/"+c.Consumer)
		}
	}
	return names
}
