package access

import (
	"fmt"
	"slices"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const api = "$JS.API."

// Derive is the rights of every service, in their order, and what is wrong with the declaration. What is wrong grants
// nothing.
func Derive(services []Service, streams []Stream) ([]Grant, []Mistake) {
	grants := make([]Grant, 0, len(services))
	var wrong []Mistake
	for _, s := range services {
		g := Grant{Service: s.Name, Role: s.Role, Inside: s.Role.Inside()}
		switch s.Role {
		case Observer:
			g.observe()
		case Operator:
			g.operate()
		case Admin:
			g.publish(">", "an admin may do everything in the account of the streams")
			g.Subscribe = append(g.Subscribe, Right{Subject: ">", Why: "an admin may do everything in the account of the streams"})
		}
		for i, subject := range s.Publishes {
			if m, ok := wrongSubject(s, i, streams); ok {
				wrong = append(wrong, m)
				continue
			}
			g.publish(subject, "publishes to "+strings.Join(capturing(subject, streams), ", "))
		}
		for i := range s.Consumes {
			stream, con, m := find(s, i, streams)
			if m != nil {
				wrong = append(wrong, *m)
				continue
			}
			g.consume(stream, con)
		}
		if s.Role != Admin {
			g.inboxes(s.Name)
		}
		g.Publish, g.Subscribe = needed(g.Publish), needed(g.Subscribe)
		g.except(s.Publishes)
		grants = append(grants, g)
		wrong = append(wrong, mistakes(s)...)
	}
	return grants, append(wrong, shared(services)...)
}

func (g *Grant) publish(subject, why string) {
	g.Publish = append(g.Publish, Right{Subject: subject, Why: why})
}

// Records are the subjects of what the bus itself records in stream AUDIT. Nobody who publishes may look as if it were the
// bus, whatever it publishes beside them.
func Records() []string {
	return []string{"events.audit.audit.*", "events.audit.bus.*", "events.audit.client.*", "events.audit.consumer.*", "events.audit.dead-letter.*",
		"events.audit.jetstream.*", "events.audit.message.*", "events.audit.permission.*", "events.audit.stream.*"}
}

// except takes the bus's own subjects out of what a service publishes.
func (g *Grant) except(publishes []string) {
	for _, own := range Records() {
		if slices.ContainsFunc(publishes, func(p string) bool { return natsserver.SubjectsCollide(p, own) }) {
			g.Except = append(g.Except, Right{Subject: own, Why: "the bus's own records"})
		}
	}
}

func (g *Grant) ask(subject, why string, answers int) {
	g.Publish = append(g.Publish, Right{Subject: subject, Why: why, Answers: answers})
}

// consume is the least that the clients need, of those tried: nats.go with both of its APIs, nats.js, C, natscli.
func (g *Grant) consume(stream string, c Consumer) {
	id := stream + "." + c.Name
	of := stream + "/" + c.Name
	g.ask(api+"CONSUMER.INFO."+id, "look at "+of, Once)
	if c.Deliver == "" {
		g.ask(api+"CONSUMER.MSG.NEXT."+id, "ask "+of+" for messages", Often)
	} else {
		g.Subscribe = append(g.Subscribe, Right{Subject: c.Deliver, Why: "where " + of + " delivers", Shared: true})
	}
	if c.Acks {
		g.ask("$JS.ACK."+id+".>", "acknowledge what "+of+" delivered", Once)
	}
	if c.FlowControl {
		g.ask("$JS.FC."+id+".>", "tell "+of+" that it keeps up", Once)
	}
	g.ask(api+"STREAM.INFO."+stream, "clients look at "+stream+" before its consumer", Once)
	g.ask(api+"STREAM.NAMES", "clients that subscribe by subject ask for the stream's name", Once)
	g.ask(api+"INFO", "clients ask whether there is JetStream", Once)
}

func (g *Grant) observe() {
	for _, subject := range []string{"INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.*", "CONSUMER.NAMES.*", "CONSUMER.LIST.*", "CONSUMER.INFO.*.*"} {
		g.ask(api+subject, "an observer sees every stream and consumer", Once)
	}
	const read = "an observer reads messages"
	g.ask(api+"STREAM.MSG.GET.*", read, Once)
	g.ask(api+"DIRECT.GET.*", read, Listed)
	g.ask(api+"DIRECT.GET.*.>", read, Listed)
}

func (g *Grant) operate() {
	g.ask(api+">", "an operator makes, changes, reads and removes streams and consumers", Often)
	for subject, why := range map[string]string{
		"$JS.SNAPSHOT.>": "an operator makes and restores backups",
		"$JS.ACK.>":      "an operator acknowledges what the consumers that it makes deliver",
		"$JS.FC.>":       "an operator tells them that it keeps up",
	} {
		g.publish(subject, why)
	}
	g.Subscribe = append(g.Subscribe, Right{Subject: "$JS.EVENT.>", Why: "an operator sees what JetStream reports"})
}

// inboxes are the two forms of them: what clients use by themselves, and what those use that were given a prefix.
func (g *Grant) inboxes(name string) {
	why := "answers to what it asked; its account has them to itself"
	if g.Inside {
		why = "answers to what it asked"
	}
	g.Subscribe = append(g.Subscribe,
		Right{Subject: "_INBOX.>", Why: why},
		Right{Subject: "_INBOX_" + name + ".>", Why: "the same, for clients that were given that prefix"})
}

// needed leaves out what is covered by another right, and sorts the rest. Two imports of the same subject would be two
// messages.
func needed(rights []Right) []Right {
	slices.SortStableFunc(rights, func(a, b Right) int { return strings.Compare(a.Subject, b.Subject) })
	rights = slices.CompactFunc(rights, func(a, b Right) bool { return a.Subject == b.Subject })
	return slices.DeleteFunc(slices.Clone(rights), func(r Right) bool {
		return slices.ContainsFunc(rights, func(o Right) bool {
			return o.Subject != r.Subject && natsserver.SubjectMatchesFilter(r.Subject, o.Subject)
		})
	})
}

// capturing names the streams that hold messages of that subject.
func capturing(subject string, streams []Stream) (names []string) {
	for _, s := range streams {
		if slices.ContainsFunc(s.Subjects, func(c string) bool { return natsserver.SubjectsCollide(c, subject) }) {
			names = append(names, s.Name)
		}
	}
	return names
}

// find is the consumer that a service names, or what is wrong with the name.
func find(s Service, i int, streams []Stream) (string, Consumer, *Mistake) {
	written := s.Consumes[i]
	m := &Mistake{Service: s.Name, Key: "consumes", Index: i, Written: written}
	stream, name, ok := strings.Cut(written, "/")
	if !ok || stream == "" || name == "" || strings.Contains(name, "/") {
		m.Message = fmt.Sprintf("%q is not a consumer; write STREAM/CONSUMER", written)
	}
	for _, st := range streams {
		for _, c := range st.Consumers {
			if st.Name == stream && c.Name == name {
				return stream, c, nil
			}
			m.Words = append(m.Words, st.Name+"/"+c.Name)
		}
	}
	if m.Message == "" {
		m.Message = fmt.Sprintf("there is no consumer %q", written)
		if !slices.ContainsFunc(streams, func(st Stream) bool { return st.Name == stream }) {
			m.Message = fmt.Sprintf("there is no stream %q", stream)
		}
	}
	return "", Consumer{}, m
}
