package server

import "context"

// turns is a mutex that can be waited for as long as a context goes: while nats-server is started anew the bus may have
// to hold, until a person has decided, and must be stoppable meanwhile. Make it with room for one.
type turns chan struct{}

func (t turns) Lock()   { t <- struct{}{} }
func (t turns) Unlock() { <-t }

// LockContext is Lock, or an error when ctx ends first.
func (t turns) LockContext(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
