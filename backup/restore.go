package backup

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/nats-io/nats.go"
)

// RestoreOptions are what Restore can be told. The zero value restores every stream of the archive under its own name,
// where there is none yet.
type RestoreOptions struct {
	Streams  []string                         // by name; none: all
	As       string                           // the name that the one stream gets
	Replace  bool                             // put them in the place of those that are there
	Own      Own                              // which stream a new bus has messages of its own in; nil: none
	Expire   bool                             // keep max_age as it was, although messages expire on arrival
	Version  string                           // of the program, for the archive of what is replaced
	Stdin    io.Reader                        // what the file "-" is
	Temp     string                           // the folder in which streams are rebuilt; default: the system's
	Free     func(dir string) (uint64, error) // how much room a folder has; nil: not looked at
	Wait     time.Duration                    // for each answer; default 30 s
	Progress func(Progress)
	Kept     func(file string) // called when all that is replaced is in that archive, before any of it goes; may be nil
}

// Own reports whether a stream holds nothing but what the bus has written there about itself. Where no other stream ever held a
// message, that one gives way without Replace, and is kept as with it.
type Own func(ctx context.Context, stream string) (bool, error)

// Restored is what Restore did.
type Restored struct {
	Streams []RestoredStream `json:"streams"`
	Kept    string           `json:"kept,omitempty"` // the archive of what was replaced
}

// RestoredStream is one stream that stands again.
type RestoredStream struct {
	Name      string   `json:"name"`
	From      string   `json:"from"` // its name in the archive
	Messages  uint64   `json:"messages"`
	FirstSeq  uint64   `json:"first_seq"`
	LastSeq   uint64   `json:"last_seq"`
	Consumers []string `json:"consumers"`
	Remarks   []string `json:"remarks"` // what is not as it was
}

// Restore brings streams back, with the sequence, time and headers of every message, consumers with their ack state, and
// the duplicate window. All or nothing: first the archive is verified, then every stream is rebuilt in a throwaway
// nats-server and compared message by message, then all are sent, and only when all of them have arrived they are made to
// stand, one right after the other. Whoever ends this before, however, leaves nothing behind.
//
// A stream that is there already is an ErrExists, unless it never held a message, is the Own of a new bus, or with Replace: that one is written
// into an archive beside the file first, takes no publishes any more, and comes back if anything fails.
func Restore(ctx context.Context, nc *nats.Conn, file string, o RestoreOptions) (*Restored, error) {
	src, err := open(file, o.Stdin, o.Temp)
	if err != nil {
		return nil, err
	}
	defer src.close()
	m, err := checked(ctx, src, o.Progress)
	if err != nil {
		return nil, err
	}
	r := &restore{client: newClient(nc, o.Wait), o: o, file: file, src: src, manifest: m}
	if err := r.choose(); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	return r.run(ctx)
}

// restore is one call of Restore.
type restore struct {
	client
	o        RestoreOptions
	file     string
	src      source
	manifest *Manifest
	to       map[string]string // stream → the name that it gets
	targets  []*target
	old      []*old // what stands in the way
	kept     string // the archive of that
	shop     *workshop
	built    map[string]*content
}

// target is a stream that is to stand.
type target struct {
	name string // that it gets
	from *Stream
	cfg  config
	res  RestoredStream
	made bool // by us, and by now
}

func (r *restore) remark(t *target, format string, args ...any) {
	t.res.Remarks = append(t.res.Remarks, fmt.Sprintf(format, args...))
}

// choose finds the streams that are wanted.
func (r *restore) choose() error {
	wanted := r.o.Streams
	if len(wanted) == 0 {
		wanted = r.manifest.names()
	}
	if r.o.As != "" && len(wanted) != 1 {
		return fmt.Errorf("one stream can get the name %s, and there are %d; choose it", r.o.As, len(wanted))
	}
	if r.o.As != "" && !named(r.o.As) {
		return fmt.Errorf("%q is not a name that JetStream takes", r.o.As)
	}
	r.to = map[string]string{}
	for _, name := range wanted {
		s := r.manifest.Stream(name)
		if s == nil {
			return fmt.Errorf("%w: %s is not in %s, which has %s", ErrNoStream, name, r.file, strings.Join(r.manifest.names(), ", "))
		}
		if r.to[name] = name; r.o.As != "" {
			r.to[name] = r.o.As
		}
	}
	for _, name := range sorted(r.to) {
		r.targets = append(r.targets, &target{name: r.to[name], from: r.manifest.Stream(name)})
	}
	return nil
}

// run does what was chosen; nothing in NATS has been touched before.
func (r *restore) run(ctx context.Context) (_ *Restored, err error) {
	r.shop, r.built, err = rebuild(ctx, r.src, r.manifest, r.to, VerifyOptions{Temp: r.o.Temp, Free: r.o.Free, Progress: r.o.Progress})
	if err != nil {
		return nil, err
	}
	defer r.shop.remove()
	if err := r.configure(ctx); err != nil {
		return nil, err
	}
	r.shop.stop()
	if err = r.clear(ctx); err == nil {
		err = r.handOver(ctx)
	}
	if err != nil {
		if left := r.putBack(ctx); left != nil { // no interruption that left everything as it was
			return nil, fmt.Errorf("%v\n%w", err, left)
		}
		return nil, err
	}
	out := &Restored{Kept: r.kept}
	if r.temporary() {
		out.Kept = ""
	}
	for _, t := range r.targets {
		out.Streams = append(out.Streams, t.res)
	}
	return out, nil
}

// configure decides how each stream is configured.
func (r *restore) configure(ctx context.Context) error {
	there, err := r.client.streams(ctx)
	if err != nil {
		return err
	}
	err = r.each(ctx, func(t *target, p packed, snap *snapshot) error {
		cfg, err := parseConfig(snap.Config)
		if err != nil {
			return err
		}
		found := r.built[t.from.Name]
		t.res = RestoredStream{Name: t.name, From: t.from.Name, Messages: found.messages, FirstSeq: found.state.FirstSeq, LastSeq: found.state.LastSeq, Consumers: found.names, Remarks: []string{}}
		cfg = cfg.unparked().note(notedRestoring, "")
		if t.name != t.from.Name {
			cfg["name"] = t.name
		}
		if cfg.number("num_replicas") > 1 && r.nc.ConnectedClusterName() == "" {
			r.remark(t, "num_replicas %d → 1: this NATS is a single node", cfg.number("num_replicas"))
			cfg["num_replicas"] = 1
		}
		moment := t.from.Moment
		if t.from.Unchecked {
			moment = found.lastTime
		}
		if !r.o.Expire {
			var was, is time.Duration
			if cfg, was, is = cfg.aged(time.Now(), moment, found.firstTime); is > 0 {
				r.remark(t, "max_age %s → %s: otherwise messages would expire on arrival", was, is)
			}
		}
		t.cfg = cfg
		if d := t.from.Damage; d != nil {
			r.remark(t, "it was damaged when it was backed up: %s", d)
		}
		return r.subjects(t, there)
	})
	return err
}

// subjects finds out whether another stream has the subjects already: then a copy goes without.
func (r *restore) subjects(t *target, there []streamInfo) error {
	for _, info := range there {
		cfg, err := parseConfig(info.Config)
		if err != nil {
			return err
		}
		other := cfg.text("name")
		if other == t.name || r.replaces(other) {
			continue
		}
		of, with := collide(t.cfg.subjects(), cfg.unparked().subjects())
		switch {
		case of == "":
		case r.o.As != "":
			r.remark(t, "without its subjects, which stream %s captures, and without max_bytes", other)
			t.cfg = t.cfg.with(map[string]any{"subjects": []string{t.name}, "max_bytes": -1})
			return nil
		default:
			return fmt.Errorf("stream %s: its subject %s overlaps %s of stream %s, which is there; restore it with --as under another name, or change that one", t.name, of, with, other)
		}
	}
	return nil
}

func (r *restore) replaces(name string) bool {
	for _, t := range r.targets {
		if t.name == name {
			return true
		}
	}
	return false
}

// each reads the archive once more, for those streams that are wanted.
func (r *restore) each(ctx context.Context, do func(*target, packed, *snapshot) error) error {
	_, err := r.src.each(func(p packed) error {
		for _, t := range r.targets {
			if t.from.Name == p.name {
				snap, err := parseMeta(p)
				if err != nil {
					return err
				}
				return do(t, p, snap)
			}
		}
		return ctx.Err()
	})
	return err
}

// local reports whether NATS runs on this machine, whose disks can be told to write.
func (r *restore) local() bool {
	host, _, err := net.SplitHostPort(r.nc.ConnectedAddr())
	if err != nil {
		return false // in this process: whose store it is, nobody can say
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() {
		return ip != nil
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// beside is where the archive of what is replaced goes: next to the file that takes its place.
func (r *restore) beside(now time.Time) string {
	dir, base := filepath.Split(filepath.Clean(r.file))
	if r.file == "-" {
		dir, base = "", "stdin"
	}
	return filepath.Join(dir, strings.TrimSuffix(base, ".tar.gz")+".replaced-"+now.UTC().Format(stamp)+".tar.gz")
}

// stamp is how a moment stands in a file's name.
const stamp = "20060102T150405Z"

func count(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return humanize.Comma(int64(n)) + " messages"
}
