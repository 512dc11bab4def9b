package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsFirst puts a command's flags before its arguments, where urfave/cli looks for them; people write them on either
// side. Behind -- nothing is a flag.
func flagsFirst(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	out, flags, commands := args[:1:1], app.Flags, app.Commands
	var words []string
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return slices.Concat(out, []string{"--"}, words, args[i+1:])
		}
		if strings.HasPrefix(arg, "-") && arg != "-" {
			out = append(out, arg)
			if i+1 < len(args) && takesValue(flags, arg) {
				i++
				out = append(out, args[i])
			}
			continue
		}
		c := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
		if c < 0 || len(words) > 0 {
			words = append(words, arg)
			continue
		}
		out, flags, commands = append(out, arg), commands[c].Flags, commands[c].Subcommands
	}
	return append(out, words...)
}

// takesValue reports whether the argument behind a flag belongs to it.
func takesValue(flags []cli.Flag, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			doc, ok := f.(cli.DocGenerationFlag)
			return ok && doc.TakesValue()
		}
	}
	return false
}
