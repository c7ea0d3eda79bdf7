package room

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/lonng/nano/state"
)

// Kind is a kind of rooms. Its methods may be called from any goroutine.
type Kind[R any] struct{ kind *kind }

// Define describes a kind of rooms by the type of their struct. Call it once for each kind, as a package variable. Faults of
// the type, of its state and of the options are all reported together when a server starts with the kind.
func Define[R any](name string, opts ...Option) *Kind[R] {
	return &Kind[R]{define(name, reflect.TypeFor[R](), opts)}
}

// Err returns the faults of the definition, joined; nil if there are none.
func (k *Kind[R]) Err() error { return k.kind.err }

// Name returns the name of the kind: the first part of the routes of its messages.
func (k *Kind[R]) Name() string { return k.kind.name }

// Option configures a kind.
type Option func(*options)

type options struct {
	seats      int
	tickRate   float64
	sendRate   float64
	catchUp    int
	hold       time.Duration
	reserve    time.Duration
	empty      time.Duration
	inputs     int
	schedulers int
	private    bool
	maxRooms   int
	seed       *[32]byte
}

// Seats sets how many players a room has, without spectators. The default is 16.
func Seats(n int) Option { return func(o *options) { o.seats = n } }

// TickRate sets how often a second Tick runs: 0.1 to 240, or 0 for a room that only reacts to messages and timers. The
// default is 0.
func TickRate(hz float64) Option { return func(o *options) { o.tickRate = hz } }

// SendRate sets how often a second the state is sent, at most the tick rate. The default is the tick rate.
func SendRate(hz float64) Option { return func(o *options) { o.sendRate = hz } }

// CatchUp sets how many ticks more than one may run at once when the room is late. Further ticks are skipped and counted in
// Stats. The default is 3.
func CatchUp(n int) Option { return func(o *options) { o.catchUp = n } }

// Hold sets how long the seat of a player who lost the connection is held. The default is 30 s; 0 holds no seat.
func Hold(d time.Duration) Option { return func(o *options) { o.hold = d } }

// Reserve sets how long a reserved seat waits for its player. The default is 10 s.
func Reserve(d time.Duration) Option { return func(o *options) { o.reserve = d } }

// Empty sets how long a room without players stays. The default is 5 s.
func Empty(d time.Duration) Option { return func(o *options) { o.empty = d } }

// Inputs sets how many inputs of one player may wait for a tick. Of more, the oldest are dropped and counted in Stats. The
// default is 8.
func Inputs(n int) Option { return func(o *options) { o.inputs = n } }

// Schedulers spreads the rooms over n schedulers of their own, that is, over up to n cores. The default is 0: all rooms run
// on the logic goroutine.
func Schedulers(n int) Option { return func(o *options) { o.schedulers = n } }

// Private leaves the rooms out of lists and of JoinOrCreate. They are joined by id or by code.
func Private() Option { return func(o *options) { o.private = true } }

// MaxRooms sets how many rooms of the kind a node may have. The default is 10,000.
func MaxRooms(n int) Option { return func(o *options) { o.maxRooms = n } }

// Seed sets the seed of Base.Rand of every room, for tests.
func Seed(seed [32]byte) Option { return func(o *options) { o.seed = &seed } }

func (o *options) check() []error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(o.seats < 1 || o.seats > 1<<20, "Seats(%d): want 1 to %d", o.seats, 1<<20)
	fault(o.tickRate != 0 && (o.tickRate < 0.1 || o.tickRate > 240), "TickRate(%v): want 0, or 0.1 to 240", o.tickRate)
	fault(o.sendRate < 0 || o.sendRate > o.tickRate, "SendRate(%v): want at most the tick rate, %v", o.sendRate, o.tickRate)
	fault(o.catchUp < 0, "CatchUp(%d): want 0 or more", o.catchUp)
	fault(o.hold < 0, "Hold(%v): want 0 or more", o.hold)
	fault(o.reserve <= 0, "Reserve(%v): want more than 0", o.reserve)
	fault(o.empty < 0, "Empty(%v): want 0 or more", o.empty)
	fault(o.inputs < 1, "Inputs(%d): want 1 or more", o.inputs)
	fault(o.schedulers < 0 || o.schedulers > 1024, "Schedulers(%d): want 0 to 1024", o.schedulers)
	fault(o.maxRooms < 1, "MaxRooms(%d): want 1 or more", o.maxRooms)
	return errs
}

// kind is a Kind without its type parameter.
type kind struct {
	name     string
	typ      reflect.Type // of the struct
	options  options
	err      error
	dt       time.Duration // between ticks, 0 for none
	every    uint64        // ticks between two flushes
	create   *hook
	join     *hook
	messages []*handler // sorted by name
	schema   state.Schema
}

// hook is OnCreate or OnJoin.
type hook struct {
	index   int
	player  bool         // takes a *Player
	options reflect.Type // what the options point to, nil for none
	reply   bool
	err     bool
}

// handler is a method that serves messages.
type handler struct {
	name    string
	index   int
	request reflect.Type // what the message points to
	reply   reflect.Type // nil for none
	err     bool
	input   bool // waits for the next tick
}

var (
	typePlayer = reflect.TypeFor[*Player]()
	typeView   = reflect.TypeFor[*state.View]()
	typeError  = reflect.TypeFor[error]()
	typeBytes  = reflect.TypeFor[[]byte]()
	typeInput  = reflect.TypeFor[numbered]()
)

func define(name string, t reflect.Type, opts []Option) *kind {
	k := &kind{
		name: name,
		typ:  t,
		options: options{seats: 16, catchUp: 3, hold: 30 * time.Second, reserve: 10 * time.Second, empty: 5 * time.Second,
			inputs: 8, maxRooms: 10_000},
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

// inspect reads the type of the room.
func (k *kind) inspect() (errs []error) {
	if k.typ.Kind() != reflect.Struct {
		return []error{fmt.Errorf("%v is no struct", k.typ)}
	}
	ptr := reflect.PointerTo(k.typ)
	sample, ok := reflect.New(k.typ).Interface().(embedded)
	if !ok {
		return []error{fmt.Errorf("%v does not embed room.Base", k.typ)}
	}
	if s, err := sample.newSync(); err != nil {
		errs = append(errs, err)
	} else {
		k.schema = s.Schema()
	}
	for i := range ptr.NumMethod() {
		m := ptr.Method(i)
		if isBase(m.Name) {
			continue
		}
		if err := k.method(m); err != nil {
			errs = append(errs, fmt.Errorf("method %s: %w", m.Name, err))
		}
	}
	if k.dt == 0 && slices.ContainsFunc(k.messages, func(h *handler) bool { return h.input }) {
		errs = append(errs, errors.New("a message embeds room.Input, which needs a TickRate"))
	}
	if _, ticks := reflect.New(k.typ).Interface().(interface{ Tick() }); ticks && k.dt == 0 {
		errs = append(errs, errors.New("method Tick needs a TickRate"))
	}
	return errs
}

// isBase reports whether a method is one that every room has from Base.
func isBase(name string) bool {
	_, ok := reflect.TypeFor[*Base[struct{}]]().MethodByName(name)
	return ok
}

// The hooks with one signature.
var fixed = map[string][2][]reflect.Type{
	"OnDrop":   {{typePlayer}, nil},
	"OnReturn": {{typePlayer}, nil},
	"OnLeave":  {{typePlayer}, nil},
	"OnClose":  {nil, nil},
	"Tick":     {nil, nil},
	"View":     {{typePlayer, typeView}, nil},
	"Save":     {nil, {typeBytes, typeError}},
	"Load":     {{typeBytes}, {typeError}},
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
		return nil // a method of the program's own
	}
	h := &handler{name: m.Name, index: m.Index}
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
