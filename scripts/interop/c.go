package main

import (
	"context"
	"os/exec"
	"path/filepath"
)

// c compiles c/client.c against the C client and runs it.
func c(ctx context.Context, s *session) error {
	client := filepath.Join(s.dir, "client")
	if _, err := do(exec.CommandContext(ctx, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1",
		"-o", client, "scripts/interop/c/client.c", "-lnats")); err != nil {
		return err
	}
	return s.program(exec.CommandContext(ctx, client, s.Client))
}
