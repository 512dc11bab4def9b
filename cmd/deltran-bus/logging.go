package main

import (
	"log/slog"

	"github.com/deltran/deltran-bus/server"
	"github.com/urfave/cli/v2"
)

// newLog is the log of serve, on stderr as --log-format and --log-level say.
func newLog(c *cli.Context) (*slog.Logger, error) {
	levels := map[string]slog.Level{"": slog.LevelInfo, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": server.LevelTrace}
	word, origin := setting(c, "log-level")
	level, ok := levels[word]
	if !ok {
		return nil, misuse("%s %q is not a level; error, warn, info, debug or trace", origin, word)
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey && a.Value.Any() == server.LevelTrace {
			a.Value = slog.StringValue("TRACE")
		}
		return a
	}}
	switch format, origin := setting(c, "log-format"); format {
	case "", "text":
		return slog.New(slog.NewTextHandler(c.App.ErrWriter, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(c.App.ErrWriter, opts)), nil
	default:
		return nil, misuse("%s %q is not a format; text or json", origin, format)
	}
}
