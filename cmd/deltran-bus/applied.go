package main

import (
	"fmt"
	"io"
)

// writeApplied says what apply did and what it left.
func writeApplied(w io.Writer, a applied) error {
	if a.Done.Empty() && a.Left.Empty() {
		_, err := fmt.Fprintln(w, "nothing to do: what is there matches the declaration")
		return err
	}
	if !a.Done.Empty() {
		fmt.Fprintln(w, "done:")
		if err := a.Done.WriteChanges(w); err != nil {
			return err
		}
	}
	if !a.Left.Empty() {
		fmt.Fprintln(w, "left as it was:")
		return a.Left.WriteText(w)
	}
	return nil
}
