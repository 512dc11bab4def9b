package server

import "time"

// Incident is something that happened to the bus while it ran, and that nobody has asked for.
type Incident struct {
	What string        // one of the words below
	Why  string        // and for what did not work, the error
	Took time.Duration // how long it was like that, where something is over
}

// What may happen.
const (
	Restarted     = "restarted"           // nats-server, within the process; clients had to connect again
	RestartFailed = "restart-failed"      // it is tried again, or the process ends
	Refusing      = "publishing-refused"  // to file streams, because the store's volume is full or fails
	Taking        = "publishing-accepted" // again
	Damaged       = "store-damaged"       // or less durable than promised, as State's Findings say
)

// OnIncident has incidents told. tell is called by what looks after the store: it must not wait, nor ask nats-server.
func OnIncident(tell func(Incident)) Option { return func(s *Server) { s.incident = tell } }
