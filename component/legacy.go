package component

import (
	"reflect"

	"github.com/lonng/nano/internal/handler"
)

// Handler describes a method that serves a route.
//
// Deprecated: A server finds the handlers of its components itself; see [Components].
type Handler struct {
	Receiver reflect.Value  // the component
	Method   reflect.Method // the method
	Type     reflect.Type   // type of the request: a pointer, or []byte
	IsRawArg bool           // the request is []byte
}

// Service describes a component and its handlers.
//
// Deprecated: A server finds the handlers of its components itself; see [Components].
type Service struct {
	Name      string              // the first part of the component's routes
	Type      reflect.Type        // type of the component
	Receiver  reflect.Value       // the component
	Handlers  map[string]*Handler // by the last part of their routes
	SchedName string              // see WithSchedulerName; "" is the server's own scheduler
	opts      options
}

// NewService describes a component. [Service.ExtractHandler] finds its handlers.
//
// Deprecated: Register the component with [Components.Register].
func NewService(comp Component, opts []Option) *Service {
	s := &Service{}
	for _, o := range opts {
		o(&s.opts)
	}
	d := handler.Describe(comp, s.opts)
	s.Name, s.Type, s.Receiver, s.SchedName = d.Name, d.Type, d.Receiver, d.SchedName
	return s
}

// ExtractHandler finds the handlers among the component's exported methods. The error is the one
// with which a server would refuse the component.
//
// Deprecated: Register the component with [Components.Register].
func (s *Service) ExtractHandler() error {
	var comp any
	if s.Receiver.IsValid() {
		comp = s.Receiver.Interface()
	}
	found, err := handler.New(comp, s.opts)
	if err != nil {
		return err
	}
	s.Handlers = make(map[string]*Handler, len(found.Handlers))
	for name, h := range found.Handlers {
		s.Handlers[name] = &Handler{Receiver: h.Receiver, Method: h.Method, Type: h.Type, IsRawArg: h.IsRawArg}
	}
	return nil
}
