package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/urfave/cli/v2"
)

// release is set when a release is built: -ldflags "-X main.release=v1.2.3".
var release string

// version is the release, or what the Go toolchain knows of the build.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v
}

// versions is what version --json prints.
type versions struct {
	Version string `json:"version"`
	NATS    string `json:"nats_server"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func allVersions() versions {
	return versions{version(), natsserver.VERSION, runtime.Version(), runtime.GOOS, runtime.GOARCH}
}

func (v versions) String() string {
	return fmt.Sprintf("deltran-bus %s, nats-server %s, %s", v.Version, v.NATS, v.Go)
}

func printVersion(c *cli.Context) error {
	v := allVersions()
	if c.Bool("json") {
		return writeJSON(c.App.Writer, v)
	}
	fmt.Fprintf(c.App.Writer, "%s %s/%s\n", v, v.OS, v.Arch)
	return nil
}
