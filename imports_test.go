package deltranbus_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/deltran/deltran-bus/"

// The house: which room may import which, directly. Data flows down, never back up. monitor knows bootstrap for the
// types of a plan that server's State holds.
var may = map[string][]string{
	"access":          {},
	"atrest":          {},
	"audit":           {"event"},
	"backup":          {},
	"blocks":          {},
	"config":          {"access"},
	"deadletter":      {"event"},
	"event":           {},
	"ledger":          {},
	"integrity":       {"blocks", "ledger"},
	"bootstrap":       {"config"},
	"server":          {"atrest", "blocks", "bootstrap", "config", "integrity", "ledger"},
	"bustest":         {"config", "event", "server"},
	"monitor":         {"audit", "backup", "bootstrap", "deadletter", "integrity", "ledger", "server"},
	"cmd/deltran-bus": {"access", "audit", "backup", "bootstrap", "config", "deadletter", "event", "ledger", "monitor", "server"},
	"scripts/bench":   {"config", "event", "scripts/internal/busproc", "scripts/internal/tools", "server"}, // it measures the bus as a library too
}

// What must not reach a binary through a room, however far down: what embeds the bus stays light.
var never = map[string][]string{
	"blocks":    {"nats-server", "nats.go"}, // it reads what nats-server wrote, and judges it by itself
	"integrity": {"nats-server", "nats.go"},
	"server":    {"prometheus", "VictoriaMetrics", "urfave", "jsm.go"},
	"bustest":   {"prometheus", "VictoriaMetrics", "urfave", "jsm.go"},
	// protobuf and text/template's neighbours would cost what the binary has left to 1.5 times nats-server
	"cmd/deltran-bus": {"prometheus", "google.golang.org/protobuf"},
	"event":           {"nats-server", "toml", "prometheus", "VictoriaMetrics", "urfave", "jsm.go"}, // services import it

	"audit":      {"nats-server", "toml", "prometheus", "VictoriaMetrics", "urfave", "jsm.go"},
	"deadletter": {"nats-server", "toml", "prometheus", "VictoriaMetrics", "urfave", "jsm.go"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(golist(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")) {
		words := strings.Fields(line)
		room, inside := strings.CutPrefix(words[0], module)
		if !inside {
			continue // this one
		}
		allowed, known := may[room]
		if strings.HasPrefix(room, "scripts/") && !known { // from outside, as a user: the binary, not the rooms
			allowed, known = []string{"scripts/internal/busproc", "scripts/internal/lossyfs", "scripts/internal/report",
				"scripts/internal/tools", "scripts/internal/witness"}, true
		}
		if strings.HasPrefix(room, "examples/") { // what a service imports
			allowed, known = []string{"event"}, true
		}
		if !known {
			t.Errorf("%s is a room that the table does not know", room)
			continue
		}
		for _, w := range words[1:] {
			if to, ours := strings.CutPrefix(w, module); ours && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s", room, to)
			}
		}
	}
	for room, words := range never {
		deps := golist(t, "-deps", "./"+room)
		for _, w := range words {
			if strings.Contains(deps, "/"+w) {
				t.Errorf("%s reaches %s", room, w)
			}
		}
	}
}

func golist(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
