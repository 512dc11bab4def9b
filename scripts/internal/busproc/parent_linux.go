package busproc

import (
	"os/exec"
	"syscall"
)

// dieWithUs leaves no server behind when the script is killed.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
