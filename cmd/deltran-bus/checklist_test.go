package main

import (
	"os"
	"strings"
	"testing"

	"github.com/deltran/deltran-bus/config"
)

// The production checklist of docs/security.md is one configuration that stands, with everything that it says.
func TestChecklist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, ok := strings.Cut(string(text), "## Production checklist\n")
	list, _, ends := strings.Cut(list, "\n## ")
	if !ok || !ends {
		t.Fatal("there is no checklist")
	}
	var blocks []string
	for i, block := range strings.Split(list, "```") {
		if toml, is := strings.CutPrefix(block, "toml\n"); is && i%2 == 1 {
			blocks = append(blocks, toml)
		}
	}
	for _, n := range []string{"**1.", "**2.", "**3.", "**4.", "**5.", "**6."} {
		if !strings.Contains(list, n) {
			t.Errorf("%s is missing", n)
		}
	}
	cfg, err := config.Load(config.File("docs/security.md", strings.Join(blocks, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 7 || len(cfg.Services) != 3 || !cfg.Audit.Enabled || cfg.Bus.AllowInsecure || cfg.Monitor.AllowInsecure {
		t.Errorf("%d blocks, %+v", len(blocks), cfg.Services)
	}
}
