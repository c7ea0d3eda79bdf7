package handler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// Options configure how a component is registered; see the functions of package
// component.
type Options struct {
	Name      string
	NameFunc  func(string) string
	SchedName string
	Env       Env
	Publish   func(*Handler) error // serves a handler of Env.Add; nil if none can be added
}

// Service is a component with its handlers.
type Service struct {
	Name      string              // the first part of its routes
	Type      reflect.Type        // type of the component
	Receiver  reflect.Value       // the component
	SchedName string              // see Handler.SchedName
	Handlers  map[string]*Handler // by the last part of their routes; see All for those added later
	Ignored   []Ignored           // methods that are nearly handlers
	Shared    []*Service          // services that other components may also provide; see Func.Service

	opts Options

	mu   sync.Mutex // held while a handler is added later
	late atomic.Pointer[map[string]*Handler]
}

// Ignored is an exported method that has a session or a context and is not a handler.
type Ignored struct {
	Method    string // such as "Room.Join"
	Signature string // without the receiver
	Reason    string // the fault, and the expected signature
}

// Describe makes the service of a component without searching for handlers.
func Describe(comp any, o Options) *Service {
	s := &Service{
		Name:      o.Name,
		Type:      reflect.TypeOf(comp),
		Receiver:  reflect.ValueOf(comp),
		SchedName: o.SchedName,
		opts:      o,
	}
	if n, ok := comp.(Namer); ok && s.Name == "" {
		s.Name = n.DefaultName()
	} else if s.Name == "" && s.Receiver.IsValid() {
		s.Name = typeName(s.Type)
	}
	return s
}

// New makes the service of a component and finds its handlers. It returns an error if
// there are none, if two have the same name, or if a name cannot be part of a route. It
// also returns an error if the component's type is unexported and has no other name.
func New(comp any, o Options) (*Service, error) {
	s := Describe(comp, o)
	if !s.Receiver.IsValid() || s.Receiver.Kind() == reflect.Pointer && s.Receiver.IsNil() {
		return nil, fmt.Errorf("component: a nil component cannot be registered")
	}
	name := typeName(s.Type)
	switch {
	case s.Name == "":
		return nil, fmt.Errorf("component: %v has no name of its own: name it with WithName", s.Type)
	case o.Name == "" && s.Name == name && !exported(name):
		return nil, fmt.Errorf("component: type %s is not exported: export it, or name it with WithName", name)
	}
	if fault := nameFault(s.Name); fault != "" {
		return nil, fmt.Errorf("component: the name %q of %v %s", s.Name, s.Type, fault)
	}
	if p, ok := comp.(Provider); ok {
		if err := s.provide(p); err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := s.find(); err != nil {
		return nil, err
	}
	if len(s.Handlers) == 0 {
		return nil, s.noHandlers()
	}
	return s, nil
}

// noHandlers returns the error of a component without handlers.
func (s *Service) noHandlers() error {
	hint := ""
	if s.Type.Kind() != reflect.Pointer && hasHandlers(reflect.PointerTo(s.Type)) {
		hint = fmt.Sprintf(" (its handlers have pointer receivers: register &%s{})", typeName(s.Type))
	} else if len(s.Ignored) > 0 {
		hint = fmt.Sprintf(" (%s: %s)", s.Ignored[0].Method, s.Ignored[0].Reason)
	}
	return fmt.Errorf("component: %s has no handlers: want exported methods like "+
		"func(*session.Session, *Request) error%s", s.Name, hint)
}

// find sets Handlers and Ignored.
func (s *Service) find() error {
	receiver := s.Receiver
	if receiver.Kind() != reflect.Pointer {
		// A call needs a pointer. A pointer to a copy has all methods of the value.
		p := reflect.New(s.Type)
		p.Elem().Set(receiver)
		receiver = p
		if !hasHandlers(s.Type) {
			return nil
		}
	}
	s.Handlers = make(map[string]*Handler)
	for m := range receiver.Type().Methods() {
		h, ok := newHandler(receiver, m)
		if !ok {
			s.ignore(m)
			continue
		}
		name := m.Name
		if s.opts.NameFunc != nil {
			name = s.opts.NameFunc(name)
		}
		if other, taken := s.Handlers[name]; taken {
			names := []string{other.Method.Name, m.Name}
			slices.Sort(names)
			return fmt.Errorf("component: methods %s and %s of %s are both named %q", names[0], names[1], s.Name, name)
		}
		if fault := lastPartFault(name); fault != "" {
			return fmt.Errorf("component: the name %q of method %s of %s %s", name, m.Name, s.Name, fault)
		}
		h.Route = s.Name + "." + name
		h.SchedName = s.SchedName
		s.Handlers[name] = h
	}
	return nil
}

// ignore records a method that is not a handler, if it is similar to one.
func (s *Service) ignore(m reflect.Method) {
	if !nearlyHandler(m.Type) {
		return
	}
	_, fault := signatureOf(m.Type)
	_, parameters, _ := strings.Cut(m.Type.String(), "(")
	_, parameters, _ = strings.Cut(parameters, ", ") // the receiver
	s.Ignored = append(s.Ignored, Ignored{
		Method:    s.Name + "." + m.Name,
		Signature: "func(" + parameters,
		Reason:    fault,
	})
}

// nameFault returns the reason why a name cannot be part of a route, or "" if it can.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty: want at least one character"
	case !utf8.ValidString(name):
		return "is not UTF-8: want text"
	case slices.Contains(strings.Split(name, "."), ""):
		return "begins or ends with a dot, or has two in a row: want words with one dot between"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }):
		return "contains blanks or control characters: want letters, digits and marks"
	}
	return ""
}

// lastPartFault is nameFault for the last part of a route.
func lastPartFault(name string) string {
	if strings.Contains(name, ".") {
		return "contains a dot: the last dot of a route ends the service's part"
	}
	return nameFault(name)
}

func hasHandlers(t reflect.Type) bool {
	for m := range t.Methods() {
		if _, fault := signatureOf(m.Type); fault == "" {
			return true
		}
	}
	return false
}

// typeName returns the name of a component's type, which may be a pointer.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

func exported(name string) bool {
	r, _ := utf8.DecodeRuneInString(name)
	return unicode.IsUpper(r)
}
