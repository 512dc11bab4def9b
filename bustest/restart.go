package bustest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Restart stops the bus as an operator does, and starts it again over the same files: streams, consumers and where they
// are stand as they stood. Needs WithFiles; what is declared in memory is empty afterwards. Clients are dropped and find
// it at the same place again; Conn and those of Connect are back when it returns.
func (b *Bus) Restart() {
	b.helper()()
	b.mustHaveFiles("Restart")
	if err := b.restart(); err != nil {
		b.fatalf("Restart: %v", err)
	}
}

// Crash is what the machine's power cut would leave when everything written had reached the disk: the bus starts again
// over a copy of its files as they are at this instant, without having been stopped first. Every acknowledged publish is
// there, while the last acks of consumers (JetStream writes them some ten times a second) may not be: those messages
// come again. Otherwise it is as Restart.
func (b *Bus) Crash() {
	b.helper()()
	b.mustHaveFiles("Crash")
	if err := b.crash(); err != nil {
		b.fatalf("Crash: %v", err)
	}
}

func (b *Bus) mustHaveFiles(what string) {
	b.helper()()
	if !b.opts.files {
		b.fatalf("%s: in memory nothing would be left; start the bus with bustest.WithFiles()", what)
	}
}

func (c *core) restart() error {
	c.gate.Store(nil)
	disconnectAll(c.server(), c.watch.client())
	had, err := c.remember()
	if err != nil {
		return err
	}
	if err := c.shut(); err != nil {
		return err
	}
	return c.reopen(had)
}

// crash copies while the bus runs, and ends it then; its messages once more when it has ended, because a client that
// came back over TCP in between may have been told that one is stored. Blocks of messages only grow, and indexes older
// than they are what a crash leaves as well. What the end itself wrote of indexes and consumers is not taken over.
func (c *core) crash() error {
	c.gate.Store(nil)
	disconnectAll(c.server(), c.watch.client())
	had, err := c.remember()
	if err != nil {
		return err
	}
	to, err := c.newDir()
	if err != nil {
		return err
	}
	old := c.dir
	err = copyTree(to, old, func(string, fs.FileInfo, string) bool { return true })
	err = errors.Join(err, c.shut())
	c.dir = to
	if err := errors.Join(err, copyTree(to, old, grownBlock), c.remove(old)); err != nil {
		return err
	}
	return c.reopen(had)
}

// remove removes a folder in which a nats-server that has ended may still be making files: those of an atomic batch that it
// had begun.
func (c *core) remove(dir string) (err error) {
	c.opts.until(func() bool { err = os.RemoveAll(dir); return err == nil })
	return err
}

// grownBlock reports whether a file holds messages, and has changed since it was copied.
func grownBlock(path string, now fs.FileInfo, copied string) bool {
	if filepath.Ext(path) != ".blk" {
		return false
	}
	then, err := os.Stat(copied)
	return err != nil || now.Size() != then.Size() || now.ModTime().After(then.ModTime())
}

// reopen opens the folder again. The port, which was free a moment ago, may be somebody else's for another.
func (c *core) reopen(had map[key]uint64) (err error) {
	if !c.opts.until(func() bool { err = c.open(); return err == nil || !c.opts.tcp }) || err != nil {
		return err
	}
	now := c.delivered()
	c.watch.mu.Lock()
	for k, n := range had {
		if n > now[k] { // forgotten, but it has happened
			c.watch.of(k).before += n - now[k]
		}
	}
	c.watch.mu.Unlock()
	return c.settle()
}

// remember hears out what was said to consumers, and returns what they know of.
func (c *core) remember() (map[key]uint64, error) {
	nc, _ := c.watch.conn()
	return c.delivered(), c.watch.catchUp(nc)
}

// delivered is how many deliveries each consumer knows of.
func (c *core) delivered() map[key]uint64 {
	ctx, cancel := context.WithTimeout(c.ctx, max(c.opts.duration(), 10*time.Second))
	defer cancel()
	out := map[key]uint64{}
	_, js := c.watch.conn()
	for _, s := range c.server().Config().Streams {
		for _, con := range s.Consumers {
			if got, err := js.Consumer(ctx, s.Name, con.Name); err == nil {
				out[key{s.Name, con.Name}] = got.CachedInfo().Delivered.Consumer
			}
		}
	}
	return out
}

// copyTree copies what is wanted of a store that is in use: a file that goes away meanwhile is one that is not needed.
func copyTree(to, from string, want func(path string, info fs.FileInfo, to string) bool) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		rel = filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(rel, 0o700)
		}
		if info, err := d.Info(); err != nil || !want(path, info, rel) {
			return nil
		}
		return copyFile(rel, path)
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(fmt.Errorf("copy %s: %w", from, err), out.Close())
	}
	return out.Close()
}
