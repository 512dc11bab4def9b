package bustest

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/deltran/deltran-bus/config"
)

// An Option changes what a bus starts from: the embedded declaration, in memory, without a port.
type Option func(*options)

type options struct {
	cfg     *config.Config
	sources []config.Source
	streams []config.Stream
	replace bool // the streams
	tcp     bool
	files   bool
	patience
}

// WithConfig starts from a declaration in place of the embedded one. It is copied. Of its [nats] what opens ports does
// not count, nor does [monitor].
func WithConfig(cfg *config.Config) Option { return func(o *options) { o.cfg = cfg } }

// WithTOML lays a document over the embedded declaration, such as a site's deltran.toml; more than one are laid over
// each other in their order.
func WithTOML(text string) Option {
	return func(o *options) { o.sources = append(o.sources, config.File("WithTOML", text)) }
}

// WithStreams takes the place of the declared streams; with none there are none.
func WithStreams(streams ...config.Stream) Option {
	return func(o *options) { o.streams, o.replace = streams, true }
}

// WithTCP opens a free port on loopback; URL tells which. Default: none.
func WithTCP() Option { return func(o *options) { o.tcp = true } }

// WithFiles keeps streams and consumers in files where the declaration says so, in a folder that goes with the bus: what
// Restart and Crash need. They are not synced to the disk. Default: all in memory.
func WithFiles() Option { return func(o *options) { o.files = true } }

// WithTimeout is how long the methods that wait do so before they fail. Default: 10 s.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.patience = patience(d) } }

// usual is the embedded declaration, read once; nobody writes to it.
var usual = sync.OnceValues(func() (*config.Config, error) { return config.Load() })

// declaration is what the options declare, for a bus in that folder.
func (o *options) declaration(dir string) (*config.Config, error) {
	cfg, err := o.cfg, error(nil)
	switch {
	case cfg != nil && len(o.sources) > 0:
		return nil, errors.New("WithTOML goes over the embedded declaration, not over WithConfig's; load both with config.Load")
	case cfg != nil:
	case len(o.sources) > 0:
		cfg, err = config.Load(o.sources...)
	default:
		cfg, err = usual()
	}
	if err != nil {
		return nil, err
	}
	out := *cfg
	out.Bus.MinFree = "0" // how full the disk of whoever runs the test is does not matter to it
	if o.replace {
		out.Streams = o.streams
	}
	out.Streams = slices.Clone(out.Streams)
	for i := range out.Streams {
		st := &out.Streams[i]
		st.Consumers = slices.Clone(st.Consumers)
		st.Replicas = min(st.Replicas, 1) // one node
		for j := range st.Consumers {
			st.Consumers[j].Replicas = min(st.Consumers[j].Replicas, 1)
		}
	}
	out.NATS = o.nats(cfg.NATS, dir)
	out.Monitor.Listen, out.Bus.StoreMustExist = "", false
	if cfg != o.cfg && !o.replace {
		return o.stored(&out), nil // judged when it was loaded
	}
	final := o.stored(&out)
	return final, final.Validate()
}

func (o *options) stored(c *config.Config) *config.Config {
	if o.files {
		return c
	}
	return c.Ephemeral()
}

// nats is [nats] without anything that reaches out of the process, but for the client port if it is wanted.
func (o *options) nats(declared map[string]any, dir string) map[string]any {
	nats := maps.Clone(declared)
	if nats == nil {
		nats = map[string]any{}
	}
	for _, k := range []string{"cluster", "gateway", "leafnodes", "websocket", "mqtt"} {
		delete(nats, k)
	}
	if !o.tcp {
		delete(nats, "tls")
	}
	nats["listen"] = "127.0.0.1:0"
	js, _ := nats["jetstream"].(map[string]any)
	js = maps.Clone(js)
	if js == nil {
		js = map[string]any{}
	}
	js["store_dir"], js["sync_interval"] = dir, "2m"
	nats["jetstream"] = js
	return nats
}
