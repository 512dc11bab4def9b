package main

import (
	"fmt"
	"io"

	"github.com/deltran/deltran-bus/bootstrap"
)

// writeApplied says what apply did and what it left.
func writeApplied(w io.Writer, a applied) error {
	if a.Done.Empty() && a.Left.Empty() {
		_, err := fmt.Fprintln(w, "nothing to do: what is there matches the declaration")
		return err
	}
	if !a.Done.Empty() {
		fmt.Fprintln(w, "done:")
		if err := a.Done.WriteText(w, bootstrap.Allow{DataLoss: true, Irreversible: true}); err != nil {
			return err
		}
	}
	if !a.Left.Empty() {
		fmt.Fprintln(w, "left as it was:")
		return a.Left.WriteText(w, bootstrap.Allow{})
	}
	return nil
}
