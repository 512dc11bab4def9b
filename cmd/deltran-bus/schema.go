package main

import (
	"fmt"

	"github.com/deltran/deltran-bus/event"
	"github.com/urfave/cli/v2"
)

func printSchema(c *cli.Context) error {
	_, err := fmt.Fprint(c.App.Writer, event.Schema())
	return err
}
