package server

import "errors"

var (
	// ErrInUse: another process holds the store folder.
	ErrInUse = errors.New("store is in use")
	// ErrStoreMissing: [bus] store_must_exist, and there is no store.
	ErrStoreMissing = errors.New("there is no store")
	// ErrNotRecovered: nats-server could not read its store; nothing was written to it.
	ErrNotRecovered = errors.New("the store did not recover")
	// ErrLoss: the store does not hold what it has to; State tells what is lost, and what can be done.
	ErrLoss = errors.New("something is lost")
	// ErrHolding: the bus was ended while it waited for a decision about what is lost.
	ErrHolding = errors.New("stopped while it waited for a decision")
	// ErrNoRoom: there is too little room on the store's volume to open it without harm; nothing was opened.
	ErrNoRoom = errors.New("there is no room")
	// ErrNotServing: Reload before Listen, or after Close.
	ErrNotServing = errors.New("the bus is not serving")
	// ErrInterrupted: the context ended while the store was still being read. The process should end: the store stays
	// locked until it does.
	ErrInterrupted = errors.New("stopped while the store was being read")
)
