package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// These types are the parts of random states.

type mood uint8

type vec struct {
	X, Y float64
	Far  struct{ Z int32 } `state:"name=deep"`
}

type card struct {
	Suit mood `state:"enum=hearts|spades|äöü"`
	Rank int8
	Up   bool
	Tags []string
}

type bag struct {
	Gold  int
	Cards []card
	Best  *card
	Items map[string]int64 `state:"big"`
	inner int              //nolint:unused // it is never sent
}

type base struct {
	Level uint16
	Alive bool
}

// unit has a field of every kind.
type unit struct {
	base
	Name   string
	X      float32 `state:"q=0.1"`
	Y      float32 `state:"q=0.1,snap"`
	Angle  float64 `state:"turn=256,snap"`
	Exact  float32
	Wide   float64
	Big    int64  `state:"big"`
	Ubig   uint64 `state:"big"`
	Mood   mood   `state:"enum=calm|angry|sad"`
	Pos    vec
	Bag    *bag
	Hand   []uint8 `state:"owner"`
	Secret int     `state:"level=1"`
	Deep   *card   `state:"level=2"`
	Names  []string
	Bits   [3]bool
	Path   []float32 `state:"q=0.5"`
	Cards  []*card
	Bags   map[int16]*bag
	Typed  Map[string, card]
	Flags  map[uint64]bool
	hidden int //nolint:unused // it is never sent
}

// dot is compared as a whole value.
type dot struct {
	X, Y  float32
	Color int16
	Hurt  bool
	Label string
	speed float32 //nolint:unused // it is never sent
	ptr   *int    //nolint:unused // it is never sent
}

var palette = []reflect.StructField{
	{Name: "Round", Type: reflect.TypeFor[uint16]()},
	{Name: "Phase", Type: reflect.TypeFor[mood](), Tag: `state:"enum=wait|play|end"`},
	{Name: "Done", Type: reflect.TypeFor[bool]()},
	{Name: "Title", Type: reflect.TypeFor[string]()},
	{Name: "Sum", Type: reflect.TypeFor[int64](), Tag: `state:"big"`},
	{Name: "Wind", Type: reflect.TypeFor[float64]()},
	{Name: "Spot", Type: reflect.TypeFor[vec]()},
	{Name: "Deck", Type: reflect.TypeFor[[]card]()},
	{Name: "Open", Type: reflect.TypeFor[[]*card]()},
	{Name: "Vault", Type: reflect.TypeFor[*bag](), Tag: `state:"level=1"`},
	{Name: "Board", Type: reflect.TypeFor[[9]int8]()},
	{Name: "Log", Type: reflect.TypeFor[[]string]()},
	{Name: "Score", Type: reflect.TypeFor[map[string]int]()},
	{Name: "Rates", Type: reflect.TypeFor[map[int64]float64]()},
	{Name: "Nicks", Type: reflect.TypeFor[map[uint64]string]()},
	{Name: "Units", Type: reflect.TypeFor[Map[playerID, unit]]()},
	{Name: "Plain", Type: reflect.TypeFor[map[playerID]*unit]()},
	{Name: "Dots", Type: reflect.TypeFor[Map[int32, dot]]()},
	{Name: "Marks", Type: reflect.TypeFor[map[string]*dot]()},
	{Name: "Rest", Type: reflect.TypeFor[Map[string, dot]](), Tag: `state:"level=1"`},
}

// world is a random state with clients. The seed determines the whole game.
type world struct {
	rand  *rand.Rand
	root  reflect.Value
	sync  *Sync
	tick  uint64
	peers []*peer
	next  int
}

// peer is a client and the state that it has to have.
type peer struct {
	id     int
	owner  playerID // 0 if it owns nothing
	level  int
	view   *View
	dec    *Decoder
	sees   map[string]map[string]bool // visible keys, by map of the root
	picked map[string]pick
	ack    uint32
}

// pick is the selection of one map before an Append.
type pick struct {
	hide    bool
	circles []circle
	shown   map[string]int
}

func newWorld(seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1))}
	fields := slices.Clone(palette)
	w.rand.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	fields = fields[:1+w.rand.IntN(len(fields))]
	w.root = reflect.New(reflect.StructOf(fields)).Elem()
	s, err := newSync(w.root, Owner[playerID]())
	if err != nil {
		panic(err)
	}
	w.sync = s
	return w
}

func (w *world) join() *peer {
	p := &peer{id: w.next, level: []int{0, 0, 0, 1, 2}[w.rand.IntN(5)], sees: map[string]map[string]bool{}}
	w.next++
	var owner any
	if w.rand.IntN(3) > 0 {
		p.owner = playerID(1 + w.rand.IntN(6))
		owner = p.owner
	}
	p.view = w.sync.NewView(owner)
	p.view.Level(p.level)
	d, err := NewDecoder(w.sync.Schema().JSON)
	if err != nil {
		panic(err)
	}
	p.dec = d
	w.peers = append(w.peers, p)
	return p
}

// step plays one tick. It calls f for each message, with the state that the client must
// have afterwards.
func (w *world) step(joined func(p *peer), f func(p *peer, msg []byte, want any) error) error {
	for len(w.peers) < 4 || w.rand.IntN(20) == 0 {
		joined(w.join())
	}
	if len(w.peers) > 4 && w.rand.IntN(8) == 0 {
		i := w.rand.IntN(len(w.peers))
		w.peers = slices.Delete(w.peers, i, i+1)
	}
	for range w.rand.IntN(6) {
		w.mutate(w.root.Field(w.rand.IntN(w.root.NumField())), w.root.Type().Field(0).Tag, 0)
	}
	w.tick += uint64(1 + w.rand.IntN(2)*w.rand.IntN(300))
	if err := w.sync.Tick(w.tick); err != nil {
		return err
	}
	for _, p := range w.peers {
		if w.rand.IntN(30) == 0 {
			continue // skips one tick
		}
		if w.rand.IntN(40) == 0 {
			p.view.Reset()
		}
		if w.rand.IntN(60) == 0 {
			p.level = w.rand.IntN(3)
			p.view.Level(p.level)
		}
		if w.rand.IntN(4) == 0 {
			p.ack += uint32(w.rand.IntN(300))
			p.view.Ack(p.ack)
		}
		w.pick(p)
		fresh := p.view.reset || p.view.seq+1 != w.sync.seq
		want := w.want(p, fresh)
		msg := p.view.Append(nil)
		if len(msg) == 0 && fresh {
			return fmt.Errorf("peer %d: a snapshot is empty", p.id)
		}
		if err := f(p, msg, want); err != nil {
			return fmt.Errorf("tick %d, peer %d, message %x: %w", w.tick, p.id, msg, err)
		}
	}
	// Changes after the last tick are not part of a snapshot.
	if w.rand.IntN(10) == 0 && len(w.peers) > 0 {
		p := w.peers[w.rand.IntN(len(w.peers))]
		if p.view.seq == w.sync.seq && len(p.picked) == 0 {
			want := w.want(p, true)
			w.mutate(w.root.Field(0), "", 0)
			p.view.Reset()
			if err := f(p, p.view.Append(nil), want); err != nil {
				return fmt.Errorf("tick %d, peer %d, a late snapshot: %w", w.tick, p.id, err)
			}
		}
	}
	return nil
}

// pick chooses which entries of the maps with positions a peer sees.
func (w *world) pick(p *peer) {
	p.picked = map[string]pick{}
	if p.id%3 == 0 {
		return
	}
	for _, r := range w.sync.regions {
		if !r.positioned() || w.rand.IntN(12) == 0 {
			continue
		}
		c := pick{shown: map[string]int{}}
		ptr := r.key
		switch w.rand.IntN(5) {
		case 0:
			c.hide = true
			p.view.Hide(ptr)
		case 1, 2, 3:
			for range 1 + w.rand.IntN(2) {
				at := circle{float32(w.rand.IntN(100)), float32(w.rand.IntN(100)), float32(w.rand.IntN(60))}
				c.circles = append(c.circles, at)
				p.view.Near(ptr, at.x, at.y, at.r)
			}
		}
		for k := range w.entries(r.at) {
			if w.rand.IntN(10) == 0 {
				level := w.rand.IntN(3)
				p.view.Show(ptr, k.Interface(), level)
				c.shown[keyString(k)] = level
			}
		}
		p.picked[r.field.name] = c
	}
}

// entries yields the keys and values of a map, without nil values.
func (w *world) entries(m reflect.Value) func(yield func(k, v reflect.Value) bool) {
	return func(yield func(k, v reflect.Value) bool) {
		if m.Kind() == reflect.Struct {
			for k, v := range m.Addr().MethodByName("All").Call(nil)[0].Seq2() {
				if !yield(k, v) {
					return
				}
			}
			return
		}
		keys := m.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(keyString(a), keyString(b)) })
		for _, k := range keys {
			v := m.MapIndex(k)
			if v.Kind() == reflect.Pointer && v.IsNil() {
				continue
			}
			if !yield(k, v) {
				return
			}
		}
	}
}

func keyString(k reflect.Value) string { return fmt.Sprint(k.Interface()) }

// special encodes values that JSON does not support.
type special struct {
	Kind  string `json:"$"`
	Value string `json:"v"`
}

// want returns the state that the peer must have after its next message.
func (w *world) want(p *peer, fresh bool) any {
	out := map[string]any{}
	t := w.root.Type()
	for i := range t.NumField() {
		sf, v := t.Field(i), w.root.Field(i)
		name := lowerCamel(sf.Name)
		level := tagLevel(sf.Tag)
		if isMap(v.Type()) || v.Kind() == reflect.Map {
			out[name] = w.wantMap(p, name, v, sf.Tag, fresh, level > p.level)
			continue
		}
		out[name] = wantValue(v, sf.Tag, p.level, level > p.level)
	}
	return out
}

func tagLevel(tag reflect.StructTag) int {
	text := tag.Get("state")
	switch {
	case strings.Contains(text, "owner"), strings.Contains(text, "level=1"):
		return 1
	case strings.Contains(text, "level=2"):
		return 2
	}
	return 0
}

// wantMap computes what a peer must have of a map of the root.
func (w *world) wantMap(p *peer, name string, m reflect.Value, tag reflect.StructTag, fresh, hidden bool) any {
	out := map[string]any{}
	before, now := p.sees[name], map[string]bool{}
	if fresh {
		before = nil
	}
	c := p.picked[name]
	for k, v := range w.entries(m) {
		if hidden {
			break
		}
		key := keyString(k)
		level := p.level
		own := k.Type() == reflect.TypeFor[playerID]() && p.owner != 0 && k.Interface() == p.owner
		if own {
			level = max(level, 1)
		}
		shown, isShown := c.shown[key]
		if isShown {
			level = max(level, shown)
		}
		visible := !c.hide && len(c.circles) == 0 || own || isShown
		for _, at := range c.circles {
			x := position(v.Elem().FieldByName("X"), name)
			y := position(v.Elem().FieldByName("Y"), name)
			d := (x-at.x)*(x-at.x) + (y-at.y)*(y-at.y)
			far := at.r * 1.08 * at.r * 1.08
			visible = visible || d <= at.r*at.r || before[key] && d <= far
		}
		if !visible {
			continue
		}
		now[key] = true
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		out[key] = wantValue(v, tag, level, false)
	}
	p.sees[name] = now
	return out
}

// position returns the position that was sent.
func position(v reflect.Value, name string) float32 {
	if name == "units" || name == "plain" {
		return float32(quantize(v.Float(), 10))
	}
	return float32(v.Float())
}

func quantize(x, scale float64) float64 {
	if x != x {
		return 0
	}
	return max(-1<<52, min(1<<52, math.RoundToEven(x*scale))) / scale
}

// wantValue returns the fields of v that a client sees at a level. A hidden value is
// zero.
func wantValue(v reflect.Value, tag reflect.StructTag, level int, hidden bool) any {
	text := tag.Get("state")
	if hidden {
		v = reflect.Zero(v.Type())
		if v.Kind() == reflect.Array {
			return []any{}
		}
		if isMap(v.Type()) {
			return map[string]any{}
		}
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Float32, reflect.Float64:
		x := v.Float()
		if _, q, ok := strings.Cut(text, "q="); ok {
			step, _ := strconv.ParseFloat(strings.Split(q, ",")[0], 64)
			x = quantize(x, 1/step)
		} else if strings.Contains(text, "turn") {
			turn := x / (2 * math.Pi)
			n := math.RoundToEven((turn - math.RoundToEven(turn)) * 256)
			if n == 128 {
				n = -128
			}
			if n != n {
				n = 0
			}
			x = n / 256 * (2 * math.Pi)
		}
		x += 0
		switch {
		case x != x:
			return special{"float", "NaN"}
		case math.IsInf(x, 0):
			return special{"float", fmt.Sprintf("%sInfinity", map[bool]string{true: "-"}[x < 0])}
		}
		return x
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = wantValue(v.Index(i), tag, level, false)
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, k := range v.MapKeys() {
			item := v.MapIndex(k)
			if item.Kind() == reflect.Pointer {
				if item.IsNil() {
					continue
				}
				item = item.Elem()
			}
			out[keyString(k)] = wantValue(item, tag, level, false)
		}
		return out
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return wantValue(v.Elem(), "", level, false)
	case reflect.Struct:
		out := map[string]any{}
		if isMap(v.Type()) {
			for k, item := range new(world).entries(v) {
				out[keyString(k)] = wantValue(item.Elem(), "", level, false)
			}
			return out
		}
		t := v.Type()
		for i := range t.NumField() {
			sf := t.Field(i)
			if sf.Anonymous {
				maps.Copy(out, wantValue(v.Field(i), "", level, hidden).(map[string]any))
				continue
			}
			if !sf.IsExported() {
				continue
			}
			name := lowerCamel(sf.Name)
			if sf.Name == "Far" {
				name = "deep"
			}
			out[name] = wantValue(v.Field(i), sf.Tag, level, hidden || tagLevel(sf.Tag) > level)
		}
		return out
	}
	if _, list, ok := strings.Cut(text, "enum="); ok {
		return strings.Split(list, "|")[v.Uint()]
	}
	if strings.Contains(text, "big") {
		return special{"big", fmt.Sprint(v.Interface())}
	}
	if v.CanInt() {
		return json.Number(strconv.FormatInt(v.Int(), 10))
	}
	return json.Number(strconv.FormatUint(v.Uint(), 10))
}

var floats = []float64{
	0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1, -1, -32, -33, -4096, -4097, 127, 128, 16383,
	16384, 0.5, 1e300, -1e-300, math.MaxFloat32, math.SmallestNonzeroFloat32, math.MaxFloat64, math.Pi, -math.Pi, 1e15,
}

var integers = []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt64, math.MinInt64, math.MinInt64 + 1, 1 << 53}

var texts = []string{"", "a", "Ann", "äöü", "\ufeffbom", "\x00", "日本語", "😀😀", "__proto__", "constructor", "7", "-1",
	strings.Repeat("x", 200)}
