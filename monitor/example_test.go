package monitor_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/deltran/deltran-bus/integrity"
	"github.com/deltran/deltran-bus/monitor"
	"github.com/deltran/deltran-bus/server"
	natsserver "github.com/nats-io/nats-server/v2/server"
)

// opening stands for a *server.Server that has not been opened yet.
type opening struct{}

func (opening) State() server.State           { return server.State{Phase: server.Opening} }
func (opening) NATS() *natsserver.Server      { return nil }
func (opening) Missing() []string             { return nil }
func (opening) Scrub() (p integrity.Progress) { return p }

// A monitor is up before the bus it looks at, so that a probe can see what is being waited for.
func ExampleOpen() {
	m, err := monitor.Open("127.0.0.1:0", opening{}, monitor.Options{Version: "1.0.0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close(context.Background())
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		resp, err := http.Get(m.URL() + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(path, resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// /livez 200 OK
	// /readyz 503 Service Unavailable
	// /healthz 503 Service Unavailable
}
