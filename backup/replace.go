package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// old is a stream that stands in the place of one that is to be restored.
type old struct {
	name     string
	cfg      config // as it was before anybody touched it
	state    state
	pristine bool // it never held a message, so that nobody has to be asked
	parked   bool // JetStream was asked to: the answer may be lost, and it be done all the same
	marked   bool // it has answered that it is
	deleted  bool // it was asked to
	doubtful bool // it has not answered that, and may still do it
}

// look finds what stands in the way, and refuses what may not be taken out of it. It changes nothing.
func (r *restore) look(ctx context.Context) error {
	var errs []error
	var held string // what holds messages
	for _, t := range r.targets {
		info, err := r.info(ctx, t.name, false)
		if isAPI(err, errStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", t.name, err)
		}
		cfg, err := parseConfig(info.Config)
		if err != nil {
			return err
		}
		o := &old{name: t.name, cfg: cfg.unparked(), state: info.State, parked: cfg.noted(notedParked) != "",
			pristine: info.State.LastSeq == 0 || cfg.noted(notedRestoring) != ""}
		if !o.pristine && !r.o.Replace {
			held = o.name
			errs = append(errs, fmt.Errorf("stream %s is %w, and holds %s; --replace puts the archive's in its place, --stream %s --as NAME beside it", t.name, ErrExists, count(info.State.Msgs), t.from.Name))
		}
		r.old = append(r.old, o)
	}
	if len(errs) == 1 && r.o.Own != nil {
		switch own, err := r.new(ctx, held); {
		case err != nil:
			return err
		case own:
			return nil
		}
	}
	return errors.Join(errs...)
}

// new reports whether the bus has nothing yet but its own records, in that stream.
func (r *restore) new(ctx context.Context, own string) (bool, error) {
	all, err := r.client.streams(ctx)
	if err != nil {
		return false, err
	}
	for _, info := range all {
		cfg, err := parseConfig(info.Config)
		if err != nil {
			return false, err
		}
		if cfg.text("name") != own && info.State.LastSeq > 0 && cfg.noted(notedRestoring) == "" {
			return false, nil
		}
	}
	return r.o.Own(ctx, own)
}

// clear makes way: what is there is kept in an archive, takes no publishes any more, and goes.
func (r *restore) clear(ctx context.Context) error {
	if len(r.old) == 0 {
		return nil
	}
	m, err := r.keep(ctx)
	if err != nil {
		return err
	}
	for _, o := range r.old {
		if err := r.park(ctx, o); err != nil {
			return fmt.Errorf("stream %s: taking its subjects from it: %w", o.name, err)
		}
	}
	for round, later := 0, true; later; round++ { // until what is kept is what is there
		there, err := r.quiet(ctx)
		if err != nil {
			return err
		}
		later = false
		for _, o := range r.old {
			if there[o.name].State.LastSeq == m.Stream(o.name).LastSeq || round > 0 && o.cfg.copies() > 0 {
				continue
			}
			if o.pristine && o.state.LastSeq == 0 && !r.o.Replace {
				return fmt.Errorf("stream %s is %w: a message has come in just now; --replace takes that as well", o.name, ErrExists)
			}
			later = true
		}
		if later {
			before := r.kept
			if m, err = r.keep(ctx); err != nil {
				return err
			}
			_ = os.Remove(before)
		}
	}
	if r.o.Kept != nil && !r.temporary() {
		r.o.Kept(r.kept)
	}
	for _, o := range r.old {
		if err := ctx.Err(); err != nil {
			return err
		}
		o.deleted = true
		if err := r.delete(ctx, o.name); err != nil {
			o.doubtful = !answered(err)
			return fmt.Errorf("stream %s: %w", o.name, err)
		}
	}
	return nil
}

// keep writes what is to be replaced into an archive: beside the file, or where it goes away again if there is nothing in
// it that could be missed.
func (r *restore) keep(ctx context.Context) (*Manifest, error) {
	var names []string
	for _, o := range r.old {
		names = append(names, o.name)
	}
	for now := time.Now(); ; now = now.Add(time.Second) {
		file := r.beside(now)
		if r.temporary() {
			file = filepath.Join(r.shop.dir, filepath.Base(file))
		}
		m, _, err := CreateFile(ctx, r.nc, file, CreateOptions{Streams: names, Version: r.o.Version, Damaged: true, Wait: r.wait, Temp: r.shop.dir})
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("keeping what is there in %s: %w", file, err)
		}
		r.kept = file
		return m, nil
	}
}

// temporary reports whether nothing of what is replaced could be missed.
func (r *restore) temporary() bool {
	for _, o := range r.old {
		if !o.pristine {
			return false
		}
	}
	return true
}

// park takes a stream's subjects from it, so that publishers are told that nobody stores what they publish, rather than that
// it is stored in a stream that goes.
func (r *restore) park(ctx context.Context, o *old) error {
	cfg, ok := o.cfg.parked()
	if !ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	o.parked = true
	err := r.ask(context.WithoutCancel(ctx), "STREAM.UPDATE."+o.name, cfg, nil)
	o.marked = err == nil
	return err
}

// quiet returns what the old streams hold when nothing more comes: what was published before they were parked may wait to be
// stored, and is acknowledged then. What copies other streams never is.
func (r *restore) quiet(ctx context.Context) (map[string]*streamInfo, error) {
	const often, enough = 50 * time.Millisecond, 10
	there := map[string]*streamInfo{}
	for same := 0; ; same++ {
		for _, o := range r.old {
			info, err := r.info(ctx, o.name, false)
			if err != nil {
				return nil, fmt.Errorf("stream %s: %w", o.name, err)
			}
			if was := there[o.name]; was != nil && was.State.LastSeq != info.State.LastSeq && o.cfg.copies() == 0 {
				same = 0
			}
			there[o.name] = info
		}
		if same >= enough {
			return there, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(often):
		}
	}
}

// delete waits for the answer even of a caller who has given up: whether the stream is gone, nobody would know.
func (r *restore) delete(ctx context.Context, stream string) error {
	err := r.ask(context.WithoutCancel(ctx), "STREAM.DELETE."+stream, nil, nil)
	if isAPI(err, errStreamNotFound) {
		return nil
	}
	return err
}

// putBack makes everything as it was before: what was made goes, what was parked takes publishes again, what was deleted is
// restored from where it was kept. It works also when the caller has given up. What was kept goes only if everything is seen
// to be as it was.
func (r *restore) putBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
	defer cancel()
	var errs []error
	ours := map[string]bool{} // made, and still there
	for _, t := range r.targets {
		if t.made {
			if err := r.delete(ctx, t.name); err != nil {
				ours[t.name] = true
				errs = append(errs, fmt.Errorf("stream %s, which is not whole: %w", t.name, err))
			}
		}
	}
	doubt := false
	var gone, unclear []string
	for _, o := range r.old {
		doubt = doubt || o.doubtful
		if !o.parked && !o.deleted {
			continue
		}
		info, err := r.info(ctx, o.name, false)
		if isAPI(err, errStreamNotFound) {
			gone = append(gone, o.name)
			continue
		}
		switch {
		case err != nil:
		case ours[o.name] || o.deleted && o.marked && !info.parked():
			err = errors.New("what stands there is not what was there")
		case o.parked:
			err = r.ask(ctx, "STREAM.UPDATE."+o.name, o.cfg, nil)
		}
		if err != nil {
			unclear = append(unclear, o.name)
			errs = append(errs, fmt.Errorf("stream %s, giving its subjects back: %w", o.name, err))
		}
	}
	if len(gone) > 0 {
		if _, err := Restore(ctx, r.nc, r.kept, RestoreOptions{Streams: gone, Temp: r.o.Temp, Wait: r.wait, Expire: true}); err != nil {
			unclear = append(unclear, gone...)
			errs = append(errs, fmt.Errorf("bringing back what was there: %w", err))
		}
	}
	if r.kept == "" || r.temporary() && len(gone) == 0 {
		return errors.Join(errs...)
	}
	if len(errs) == 0 && !doubt {
		if !r.temporary() {
			_ = os.Remove(r.kept)
		}
		return nil
	}
	if to := r.beside(time.Now()); r.temporary() && os.Rename(r.kept, to) == nil { // with the workshop it would be gone
		r.kept = to
	}
	which := ""
	for _, name := range unclear {
		which += " --stream " + name
	}
	return errors.Join(append(errs, fmt.Errorf("what was there is in %s; see with deltran-bus status whether it is there still, and if it is not: deltran-bus backup restore %s%s, with --server as before", r.kept, r.kept, which))...)
}
