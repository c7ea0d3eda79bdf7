package room

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/lonng/nano/state"
)

// kind is a Kind without its type parameter.
type kind struct {
	name     string
	typ      reflect.Type // type of the struct
	options  options
	err      error
	dt       time.Duration // between ticks, 0 for none
	every    uint64        // ticks between two flushes
	create   *hook
	join     *hook
	messages []*method // sorted by name
	schema   state.Schema
}

// hook is OnCreate or OnJoin.
type hook struct {
	index   int
	player  bool         // it takes a *Player
	options reflect.Type // type that the options point to, nil for none
	reply   bool
	err     bool
}

// method is a method that serves messages.
type method struct {
	name    string
	labels  context.Context // has the route as a profiler label
	index   int
	request reflect.Type // type that the message points to
	reply   reflect.Type // nil for none
	err     bool
	input   bool // the message waits for the next tick
}

var (
	typePlayer = reflect.TypeFor[*Player]()
	typeView   = reflect.TypeFor[*state.View]()
	typeError  = reflect.TypeFor[error]()
	typeInput  = reflect.TypeFor[numbered]()
)

func define(name string, t reflect.Type, opts []Option) *kind {
	k := &kind{
		name: name,
		typ:  t,
		options: options{seats: 16, spectators: 100, catchUp: 3, hold: 30 * time.Second, reserve: 10 * time.Second, empty: 5 * time.Second,
			inputs: 8, maxRooms: 10_000, createBurst: createBurst, createEvery: createEvery},
	}
	for _, o := range opts {
		o(&k.options)
	}
	errs := k.options.check()
	if len(errs) == 0 && k.options.tickRate > 0 {
		k.dt = time.Duration(float64(time.Second) / k.options.tickRate)
		k.every = 1
		if r := k.options.sendRate; r > 0 {
			k.every = max(1, uint64(k.options.tickRate/r+0.5))
		}
	}
	errs = append(errs, k.inspect()...)
	for i, err := range errs {
		errs[i] = fmt.Errorf("room %s: %w", name, err)
	}
	k.err = errors.Join(errs...)
	return k
}

// inspect checks the type of the room.
func (k *kind) inspect() (errs []error) {
	if k.typ.Kind() != reflect.Struct {
		return []error{fmt.Errorf("%v is not a struct", k.typ)}
	}
	ptr := reflect.PointerTo(k.typ)
	sample, ok := reflect.TypeAssert[embedded](reflect.New(k.typ))
	if !ok {
		return []error{fmt.Errorf("%v does not embed room.Base", k.typ)}
	}
	if s, err := sample.newSync(); err != nil {
		errs = append(errs, err)
	} else {
		k.schema = s.Schema()
	}
	for m := range ptr.Methods() {
		if isBase(m.Name) {
			if m.Type.NumIn() > 1 && m.Type.In(1) == typePlayer {
				errs = append(errs, fmt.Errorf("method %s: it cannot serve messages, because room.Base has a method of this name", m.Name))
			}
			continue
		}
		if err := k.method(m); err != nil {
			errs = append(errs, fmt.Errorf("method %s: %w", m.Name, err))
		}
	}
	if k.dt == 0 && slices.ContainsFunc(k.messages, func(h *method) bool { return h.input }) {
		errs = append(errs, errors.New("a message embeds room.Input, which needs a TickRate"))
	}
	if _, ticks := reflect.TypeAssert[interface{ Tick() }](reflect.New(k.typ)); ticks && k.dt == 0 {
		errs = append(errs, errors.New("method Tick needs a TickRate"))
	}
	return errs
}

// isBase reports whether a method comes from Base.
func isBase(name string) bool {
	_, ok := reflect.TypeFor[*Base[struct{}]]().MethodByName(name)
	return ok
}

// fixed lists the hooks with a single signature.
var fixed = map[string][2][]reflect.Type{
	"OnDrop":   {{typePlayer}, nil},
	"OnReturn": {{typePlayer}, nil},
	"OnLeave":  {{typePlayer}, nil},
	"OnClose":  {nil, nil},
	"Tick":     {nil, nil},
	"View":     {{typePlayer, typeView}, nil},
}

func (k *kind) method(m reflect.Method) error {
	in, out := types(m.Type.NumIn()-1, func(i int) reflect.Type { return m.Type.In(i + 1) }), types(m.Type.NumOut(), m.Type.Out)
	if want, ok := fixed[m.Name]; ok {
		if !slices.Equal(in, want[0]) || !slices.Equal(out, want[1]) {
			return fmt.Errorf("has the signature %v, want func(%v) (%v)", m.Type, want[0], want[1])
		}
		return nil
	}
	switch m.Name {
	case "OnCreate":
		h, err := hookOf(m, in, out, false)
		k.create = h
		return err
	case "OnJoin":
		h, err := hookOf(m, in, out, true)
		k.join = h
		return err
	}
	if len(in) == 0 || in[0] != typePlayer {
		return nil // a method for the program's own use
	}
	h := &method{name: m.Name, index: m.Index}
	h.labels = pprof.WithLabels(context.Background(), pprof.Labels("route", k.name+"."+m.Name))
	if len(in) != 2 || in[1].Kind() != reflect.Pointer {
		return fmt.Errorf("has the signature %v, want func(*room.Player, *Message), with a reply, an error or both as results", m.Type)
	}
	h.request = in[1].Elem()
	h.input = in[1].Implements(typeInput)
	switch {
	case len(out) == 0:
	case len(out) == 1 && out[0] == typeError:
		h.err = true
	case len(out) == 1:
		h.reply = out[0]
	case len(out) == 2 && out[1] == typeError:
		h.reply, h.err = out[0], true
	default:
		return fmt.Errorf("has the results %v, want a reply, an error or both", out)
	}
	if h.input && h.reply != nil {
		return errors.New("its message embeds room.Input, so it runs in a later tick and has no reply")
	}
	k.messages = append(k.messages, h)
	return nil
}

func types(n int, at func(int) reflect.Type) []reflect.Type {
	var list []reflect.Type
	for i := range n {
		list = append(list, at(i))
	}
	return list
}

func hookOf(m reflect.Method, in, out []reflect.Type, player bool) (*hook, error) {
	h := &hook{index: m.Index, player: player}
	rest := in
	if player {
		if len(in) == 0 || in[0] != typePlayer {
			return nil, fmt.Errorf("has the signature %v, want func(*room.Player) or func(*room.Player, *Options)", m.Type)
		}
		rest = in[1:]
	}
	if len(rest) > 1 || len(rest) == 1 && rest[0].Kind() != reflect.Pointer {
		return nil, fmt.Errorf("has the signature %v, want a pointer to the options as last parameter, or none", m.Type)
	}
	if len(rest) == 1 {
		h.options = rest[0].Elem()
	}
	if n := len(out); n > 0 && out[n-1] == typeError {
		h.err = true
		out = out[:n-1]
	}
	h.reply = len(out) == 1
	if len(out) > 1 || h.reply && !player {
		return nil, fmt.Errorf("has the signature %v: too many results", m.Type)
	}
	return h, nil
}
