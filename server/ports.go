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
		switch {
		case err == nil:
			err = ln.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			err = errors.New("is in use by another process; stop it, or listen elsewhere")
		default:
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s port %s: %w", l.Name, addr, err))
		}
	}
	return errors.Join(errs...)
}
