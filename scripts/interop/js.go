package main

import (
	"context"
	"os"
	"os/exec"
)

// javascript installs the locked nats.js beside js/client.js, copied so that the working tree stays as it is, and runs it.
func javascript(ctx context.Context, s *session) error {
	if err := os.CopyFS(s.dir, os.DirFS("scripts/interop/js")); err != nil {
		return err
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = s.dir
	if _, err := do(npm); err != nil {
		return err
	}
	node := exec.CommandContext(ctx, "node", "client.js", s.Client)
	node.Dir = s.dir
	return s.program(node)
}
