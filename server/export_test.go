package server

// Unsynchronised is a machine of which nobody keeps the clock right.
func Unsynchronised(s *Server) { s.synchronised = func() bool { return false } }
