package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/deltran/deltran-bus/config"
)

// probePorts fails while nothing has been touched yet when a port is taken: nats-server binds late, and its own way.
func probePorts(ls []config.Listener) error {
	var errs []error
	for _, l := range ls {
		if l.Port <= 0 {
			continue // any free one
		}
		addr := net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			err = ln.Close()
		}
		if err = ListenError(err); err != nil {
			errs = append(errs, fmt.Errorf("%s port %s: %w", l.Name, addr, err))
		}
	}
	return errors.Join(errs...)
}

// ListenError says what an error of net.Listen means, and the way out. The address is left out: the message around it
// has it. Nil stays nil.
func ListenError(err error) error {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return errors.New("is in use by another process; stop it, or listen elsewhere")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errors.New("is not an address of this machine; listen on one that it has, such as 127.0.0.1")
	case errors.Is(err, syscall.EACCES):
		return errors.New("this user may not open it; listen on a port from 1024")
	case errors.As(err, &dns):
		return fmt.Errorf("host %s: %s; listen on an address of this machine, such as 127.0.0.1", dns.Name, dns.Err)
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
