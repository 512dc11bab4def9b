package server

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// missing is a write of nats-server that failed because a file was not there. That is a store that somebody has taken files
// from, or one that was deleted in good order while a publisher's message was on its way into it: nats-server 2.15.2 says
// the same of both.
type missing struct {
	err error
	at  time.Time
}

// notThere is how such an error ends; nats-server keeps the text of it and not the error.
var notThere = regexp.MustCompile(`open (.+): ` + regexp.QuoteMeta(syscall.ENOENT.Error()) + `$`)

// justMade is for how long after a stream was made an error may be of the one of its name before.
const justMade = 5 * time.Second

// sift tells them apart.
func (g *space) sift() {
	for {
		select {
		case m := <-g.missing:
			if stream, deleted := g.ofDeleted(m); deleted {
				g.s.log.Info("what nats-server could not write was for a stream that was deleted at that moment, and was not acknowledged", "stream", stream)
			} else {
				g.fails(m.err)
			}
		default:
			return
		}
	}
}

// forget drops what a nats-server said that is gone.
func (g *space) forget() {
	for {
		select {
		case <-g.missing:
		default:
			return
		}
	}
}

// ofDeleted reports whether the error is of a stream that is not there any more, or was made anew since. When in doubt it is not.
func (g *space) ofDeleted(m missing) (stream string, deleted bool) {
	at := notThere.FindStringSubmatch(m.err.Error())
	if at == nil {
		return "", false
	}
	file := at[1]
	rel, err := filepath.Rel(filepath.Join(g.dir, natsserver.JetStreamStoreDir), file)
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if err != nil || len(parts) < 4 || parts[1] != "streams" { // ACCOUNT/streams/NAME/…
		return "", false
	}
	account, stream := parts[0], parts[2]
	n := g.s.NATS()
	if n == nil {
		return stream, false
	}
	v, err := n.Jsz(&natsserver.JSzOptions{Accounts: true, Streams: true})
	if err != nil || v.Disabled {
		return stream, false
	}
	for _, a := range v.AccountDetails {
		for _, s := range a.Streams {
			if a.Name == account && s.Name == stream {
				_, err := os.Stat(filepath.Dir(file))
				return stream, err == nil && s.Created.Add(justMade).After(m.at)
			}
		}
	}
	return stream, true
}
