package component

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Service is a component with its handlers.
type Service struct {
	Name      string              // the first part of its routes
	Type      reflect.Type        // of the component
	Receiver  reflect.Value       // the component
	Handlers  map[string]*Handler // by the last part of their routes
	SchedName string              // see WithSchedulerName; "" is the server's own scheduler
	opts      options
}

// NewService makes a service of comp. Its handlers are found by ExtractHandler.
func NewService(comp Component, opts []Option) *Service {
	s := &Service{Type: reflect.TypeOf(comp), Receiver: reflect.ValueOf(comp)}
	for _, o := range opts {
		o(&s.opts)
	}
	if s.Name = s.opts.name; s.Name == "" && s.Receiver.IsValid() {
		s.Name = typeName(s.Type)
	}
	s.SchedName = s.opts.scheduler
	return s
}

// typeName returns the name of a component's type, pointer or not.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// ExtractHandler finds the handlers among the component's exported methods; see Handler for their signatures.
// It is an error if there are none, if two end up under one name, or if the component's type is not exported.
func (s *Service) ExtractHandler() error {
	if !s.Receiver.IsValid() || s.Receiver.Kind() == reflect.Pointer && s.Receiver.IsNil() {
		return fmt.Errorf("component: a nil component cannot be registered")
	}
	name := typeName(s.Type)
	switch {
	case s.Name == "":
		return fmt.Errorf("component: %v has no name of its own: name it with WithName", s.Type)
	case s.opts.name == "" && !exported(name):
		return fmt.Errorf("component: type %s is not exported: export it, or name it with WithName", name)
	}
	handlers, err := s.handlers()
	if err != nil {
		return err
	}
	if len(handlers) == 0 {
		hint := ""
		if s.Type.Kind() != reflect.Pointer && hasHandlers(reflect.PointerTo(s.Type)) {
			hint = fmt.Sprintf(" (its handlers have pointer receivers: register &%s{})", name)
		}
		return fmt.Errorf("component: %s has no handlers: want exported methods like "+
			"func(*session.Session, *Request) error%s", s.Name, hint)
	}
	s.Handlers = handlers
	return nil
}

func (s *Service) handlers() (map[string]*Handler, error) {
	receiver := s.Receiver
	if receiver.Kind() != reflect.Pointer {
		// A pointer to a copy has all methods of the value, and is what a call needs; see call.go.
		p := reflect.New(s.Type)
		p.Elem().Set(receiver)
		receiver = p
		if !hasHandlers(s.Type) {
			return nil, nil
		}
	}
	handlers := make(map[string]*Handler)
	for m := range receiver.Type().Methods() {
		h := newHandler(receiver, m)
		if h == nil {
			continue
		}
		name := m.Name
		if s.opts.nameFunc != nil {
			name = s.opts.nameFunc(name)
		}
		if other, taken := handlers[name]; taken {
			names := []string{other.Method.Name, m.Name}
			slices.Sort(names)
			return nil, fmt.Errorf("component: methods %s and %s of %s are both named %q",
				names[0], names[1], s.Name, name)
		}
		if name == "" {
			return nil, fmt.Errorf("component: method %s of %s is given an empty name", m.Name, s.Name)
		}
		if strings.ContainsRune(name, '.') {
			return nil, fmt.Errorf("component: method %s of %s is named %q: the last dot of a route ends the service's part",
				m.Name, s.Name, name)
		}
		h.Route = s.Name + "." + name
		h.SchedName = s.SchedName
		handlers[name] = h
	}
	return handlers, nil
}

func hasHandlers(t reflect.Type) bool {
	for m := range t.Methods() {
		if _, ok := signatureOf(m.Type); ok {
			return true
		}
	}
	return false
}

func exported(name string) bool {
	r, _ := utf8.DecodeRuneInString(name)
	return unicode.IsUpper(r)
}
