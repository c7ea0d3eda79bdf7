package nano

import (
	"log/slog"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/session"
)

func init() {
	inspect.Of = func(srv any) inspect.Server { return inspected{srv.(*Server)} }
}

// inspected gives package console access to a server.
type inspected struct{ s *Server }

func (i inspected) Sessions() []*session.Session {
	if i.s.hub == nil {
		return nil
	}
	return i.s.broker.AppendSessions(i.s.hub.Sessions())
}

func (i inspected) Log() *slog.Logger        { return i.s.inner }
func (i inspected) Stopped() <-chan struct{} { return i.s.stopped }
