package handler

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"reflect"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Provider is implemented by a component that provides its own handlers. Its methods are
// not searched for handlers.
type Provider interface {
	// Provide returns the handlers for one server. If it returns an error, the component
	// is not registered.
	Provide(Env) ([]Func, error)
}

// Env contains the properties of a server that a [Provider] may use.
type Env struct {
	Serializer serialize.Serializer
	Log        *slog.Logger
	// Instance is random text of 8 letters and digits that identifies the server among all servers.
	Instance string
	// Service is the name of the component.
	Service string
	// SchedName is the name of component.WithSchedulerName; "" is the server's own scheduler.
	SchedName string
	// Add adds a handler of the component after Provide has returned. It may be called
	// concurrently with messages. The name must not be in use.
	Add func(Func) error
}

// Namer is implemented by a component whose default name is not the name of its type.
type Namer interface {
	// DefaultName returns the name of the service if the program sets none.
	DefaultName() string
}

// Func is a handler that is a function.
type Func struct {
	// Service is the first part of the route. The default, "", is the name of the
	// component. If several components provide the handlers of a shared service, the
	// first component's handlers are used and the others are dropped.
	Service string
	Name    string       // the last part of the route
	Request reflect.Type // type that a request points to; nil for []byte
	// Call receives a pointer to a Request, or []byte. It returns nil and nil if it
	// answers later.
	Call func(s *session.Session, request any) (reply any, err error)
	// Nodes makes it a handler without a session that serves calls of nodes only. It
	// replaces Call. The payload is not decoded. Nodes calls done once, then or later, on
	// any goroutine.
	Nodes NodesFunc
}

// NodesFunc serves a call of a node: see [Func].
type NodesFunc func(ctx context.Context, data []byte, done func(reply any, err error))

// newFunc makes the handler of a Func.
func newFunc(receiver reflect.Value, f Func) *Handler {
	h := &Handler{
		Receiver: receiver,
		Type:     typeBytes,
		IsRawArg: f.Request == nil,
		sig:      signature{session: true, raw: f.Request == nil},
	}
	if f.Nodes != nil {
		h.sig.session, h.sig.context, h.nodes = false, true, f.Nodes
		return h
	}
	if f.Request != nil {
		h.Type = reflect.PointerTo(f.Request)
	}
	h.call = funcCall(f)
	return h
}

// provide adds the handlers that a Provider makes.
func (s *Service) provide(p Provider) error {
	env := s.opts.Env
	env.Service, env.SchedName = s.Name, s.SchedName
	if publish := s.opts.Publish; publish != nil {
		env.Add = func(f Func) error { return s.addLater(f, publish) }
	}
	funcs, err := p.Provide(env)
	if err != nil {
		return fmt.Errorf("component: %s: %w", s.Name, err)
	}
	s.Handlers = make(map[string]*Handler)
	for _, f := range funcs {
		h := newFunc(s.Receiver, f)
		if f.Service != "" && f.Service != s.Name {
			if err := s.share(f.Service).add(f.Name, h); err != nil {
				return err
			}
			continue
		}
		if err := s.add(f.Name, h); err != nil {
			return err
		}
	}
	return nil
}

// share returns the service with another name that the component provides.
func (s *Service) share(name string) *Service {
	for _, other := range s.Shared {
		if other.Name == name {
			return other
		}
	}
	other := &Service{Name: name, Type: s.Type, Receiver: s.Receiver, Handlers: make(map[string]*Handler)}
	s.Shared = append(s.Shared, other)
	return other
}

// add adds a handler under the last part of its route.
func (s *Service) add(name string, h *Handler) error {
	if err := s.name(name, h); err != nil {
		return err
	}
	s.Handlers[name] = h
	return nil
}

// name sets the route of a handler that is to be added.
func (s *Service) name(name string, h *Handler) error {
	_, taken := s.Handlers[name]
	if late := s.late.Load(); late != nil && !taken {
		_, taken = (*late)[name]
	}
	if taken {
		return fmt.Errorf("component: two handlers of %s are named %q", s.Name, name)
	}
	if fault := lastPartFault(name); fault != "" {
		return fmt.Errorf("component: the name %q of a handler of %s %s", name, s.Name, fault)
	}
	h.Route, h.SchedName = s.Name+"."+name, s.SchedName
	return nil
}

// addLater adds a handler to a service that is served, and publishes it.
func (s *Service) addLater(f Func, publish func(*Handler) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := newFunc(s.Receiver, f)
	if err := s.name(f.Name, h); err != nil {
		return err
	}
	if err := publish(h); err != nil {
		return err
	}
	late := map[string]*Handler{f.Name: h}
	if old := s.late.Load(); old != nil {
		maps.Copy(late, *old)
	}
	s.late.Store(&late)
	return nil
}

// All returns the handlers of the service with those that were added later, in no order. It
// may be called concurrently with Env.Add.
func (s *Service) All() iter.Seq[*Handler] {
	return func(yield func(*Handler) bool) {
		for _, h := range s.Handlers {
			if !yield(h) {
				return
			}
		}
		if late := s.late.Load(); late != nil {
			for _, h := range *late {
				if !yield(h) {
					return
				}
			}
		}
	}
}
