package main

import (
	"context"
	"os"
	"os/exec"
)

// javascript installs the locked nats.js beside js/client.js, copied so that the working tree stays as it is, and runs it.
func javascript(ctx context.Context, s *session) error {
	if err := npmInstall(ctx, s.dir); err != nil {
		return err
	}
	node := exec.CommandContext(ctx, "node", "client.js", s.Client)
	node.Dir = s.dir
	return s.program(node)
}

// npmInstall copies the programs for node into a folder, with what they need.
func npmInstall(ctx context.Context, dir string) error {
	if err := os.CopyFS(dir, os.DirFS("scripts/interop/js")); err != nil {
		return err
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = dir
	_, err := do(npm)
	return err
}
