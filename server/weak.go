package server

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/deltran/deltran-bus/config"
	"github.com/deltran/deltran-bus/ledger"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// weakEvery is how often the streams are looked at for what clients made of them.
const weakEvery = 2 * time.Second

// Weak finds the streams that keep less than the bus promises of an acknowledged message, and that nobody declared so: in
// memory, or acknowledged before they are written. One of a tenant's account is named "ACCOUNT > STREAM". Pure.
func Weak(accounts []*natsserver.AccountDetail, declared []config.Stream) (found []ledger.Finding) {
	const memory, async = "is in memory: it is gone after a restart", "has persist_mode async: it acknowledges messages before they are written"
	meant := map[string]string{} // of the bus's own account
	for _, st := range declared {
		switch {
		case st.Storage == jetstream.MemoryStorage:
			meant[st.Name] = memory
		case st.PersistMode == jetstream.AsyncPersistMode:
			meant[st.Name] = async
		}
	}
	for _, acc := range accounts {
		for _, st := range acc.Streams {
			name, what := st.Name, ""
			switch {
			case st.Config == nil:
			case st.Config.Storage == natsserver.MemoryStorage:
				what = memory
			case st.Config.PersistMode == natsserver.AsyncPersistMode:
				what = async
			}
			own := acc.Name == natsserver.DEFAULT_GLOBAL_ACCOUNT
			if what == "" || own && meant[name] == what || strings.HasPrefix(name, "$") { // nats-server's own, for MQTT
				continue
			}
			if !own {
				name = acc.Name + " > " + name
			}
			found = append(found, ledger.Finding{
				Kind: ledger.Weak, Stream: name, What: what,
				WayOut: fmt.Sprintf("if it is meant, declare stream %s so; if not, make another in files, with the default persist_mode", st.Name),
			})
		}
	}
	slices.SortFunc(found, func(a, b ledger.Finding) int { return strings.Compare(a.Stream, b.Stream) })
	return found
}

// seeWeak looks for weak streams, says once of each that there is one, and keeps in the state those that there are now.
func (s *Server) seeWeak(now time.Time) {
	n := s.NATS()
	if n == nil || s.Config().InMemory() {
		return
	}
	jsz, err := n.Jsz(&natsserver.JSzOptions{Accounts: true, Streams: true, Config: true, Limit: math.MaxInt32})
	if err != nil {
		return // NATS is about to end, or to be started anew
	}
	found := Weak(jsz.AccountDetails, s.Config().Streams)
	was := map[string]ledger.Finding{}
	for _, f := range s.State().Findings {
		if f.Kind == ledger.Weak {
			was[f.Stream+f.What] = f
		}
	}
	known, news := map[string]ledger.Finding{}, []ledger.Finding{}
	for i := range found {
		f := &found[i]
		before, again := was[f.Stream+f.What]
		if f.Found = now; again {
			f.Found = before.Found
		} else {
			news = append(news, *f)
		}
		known[f.Stream+f.What] = *f
	}
	if maps.Equal(was, known) {
		return
	}
	s.set(func(st *State) {
		st.Findings = append(slices.DeleteFunc(slices.Clone(st.Findings), func(f ledger.Finding) bool { return f.Kind == ledger.Weak }), found...)
	})
	for _, f := range news {
		s.log.Warn("a stream is less durable than this bus promises: "+f.String(), "stream", f.Stream, "way_out", f.WayOut)
		s.incident(Incident{What: Damaged, Why: f.String()})
	}
}
