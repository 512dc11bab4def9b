package main

import (
	"context"
	"os/exec"
	"path/filepath"
)

// c compiles c/client.c against the C client and runs it.
func c(ctx context.Context, s *session) error {
	client := filepath.Join(s.dir, "client")
	if err := compile(ctx, "scripts/interop/c/client.c", client); err != nil {
		return err
	}
	return s.program(exec.CommandContext(ctx, client, s.Client))
}

func compile(ctx context.Context, source, program string) error {
	_, err := do(exec.CommandContext(ctx, "gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, source, "-lnats"))
	return err
}
