package bustest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltran/deltran-bus/server"
	"github.com/nats-io/nats.go"
)

// core is a bus whoever holds it.
type core struct {
	log  *logBuffer
	opts options
	dir  string       // where it keeps everything
	port atomic.Int64 // once it has one it keeps it
	ctx  context.Context
	stop func()

	gate  atomic.Pointer[server.Server] // nil while clients in the process may not come in
	srv   atomic.Pointer[server.Server]
	watch *watch

	mu     sync.Mutex
	conn   *nats.Conn // Conn's
	conns  []*nats.Conn
	closed sync.Once
}

func newCore() *core {
	c := &core{log: &logBuffer{}, watch: newWatch()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

func (c *core) server() *server.Server { return c.srv.Load() }

// begin makes the folder and opens the bus in it.
func (c *core) begin(opts []Option) (err error) {
	c.opts.patience = patience(10 * time.Second)
	for _, o := range opts {
		o(&c.opts)
	}
	if c.dir, err = c.newDir(); err != nil {
		return err
	}
	return c.open()
}

// newDir makes a folder for a store. In memory nothing but a lock goes into it, and a disk would take most of the time:
// memory then, if it has a folder here and nobody has said otherwise.
func (c *core) newDir() (string, error) {
	if !c.opts.files && os.Getenv("TMPDIR") == "" {
		if dir, err := os.MkdirTemp("/dev/shm", pattern); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", pattern)
}

const pattern = "bustest-"

// open starts a server over the folder. Whoever connects finds every stream and consumer, and is seen by the watch.
func (c *core) open() error {
	cfg, err := c.opts.declaration(c.dir)
	if err != nil {
		return err
	}
	if port := c.port.Load(); port != 0 {
		cfg.NATS["listen"] = loopback(port)
	}
	s := server.New(cfg, slog.New(slog.NewTextHandler(c.log, nil)))
	if err := s.Open(c.ctx); err != nil {
		return err
	}
	c.srv.Store(s)
	err = c.watch.attach(s)
	if err == nil && c.opts.tcp {
		err = s.Listen()
		c.port.CompareAndSwap(0, portOf(s))
	}
	if err != nil {
		return errors.Join(err, c.shut())
	}
	c.gate.Store(s)
	return nil
}

// shut ends the server: its clients first, because nats-server waits for pulls that are there.
func (c *core) shut() error {
	c.gate.Store(nil)
	s := c.srv.Load()
	if s == nil {
		return nil
	}
	c.watch.detach()
	disconnectAll(s, 0)
	return s.Abandon()
}

// close ends it all.
func (c *core) close() (err error) {
	c.closed.Do(func() {
		c.gate.Store(nil)
		c.mu.Lock()
		conns := c.conns
		c.conns = nil
		c.mu.Unlock()
		for _, nc := range conns {
			nc.Close()
		}
		err = c.shut()
		c.stop()
		if c.dir != "" {
			err = errors.Join(err, c.remove(c.dir))
		}
	})
	return err
}
