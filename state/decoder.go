package state

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// ErrMalformed is returned by [Decoder.Decode] for a message that no [View] of the
// schema makes after the messages before it.
var ErrMalformed = errors.New("state: malformed message")

// Decoder decodes the state of one view. It is the client's side, for bots and tests. It
// is not safe for concurrent use.
type Decoder struct {
	types  []*object
	root   *tree
	synced bool
	tick   uint64
	ack    uint32
}

// cell is one value of a decoded state. Which fields are in use depends on its type.
type cell struct {
	n    uint64 // scalars, as in a row
	s    string
	obj  *tree
	list []cell
	m    map[int]*entry // by handle
}

// entry is one entry of a decoded map.
type entry struct {
	key key
	cell
}

// tree is a decoded struct.
type tree struct{ cells []cell }

// NewDecoder returns a decoder of the schema, which is the text of [Schema.JSON].
func NewDecoder(schema string) (*Decoder, error) {
	types, err := parseSchema(schema)
	if err != nil {
		return nil, fmt.Errorf("state: the schema is malformed: %w", err)
	}
	return &Decoder{types: types, root: types[0].zero()}, nil
}

// Tick returns the tick of the last message.
func (d *Decoder) Tick() uint64 { return d.tick }

// Ack returns the number of the last input that is part of the state.
func (d *Decoder) Ack() uint32 { return d.ack }

// Synced reports whether the decoded state is current. That is true from a snapshot until
// the next error.
func (d *Decoder) Synced() bool { return d.synced }

// Decode applies msg to the state. An empty message has no effect: it replaces a lost
// one. Before the first snapshot and after an error, Decode ignores patches until a
// snapshot arrives.
func (d *Decoder) Decode(msg []byte) error {
	if len(msg) == 0 {
		return nil
	}
	if msg[0]&headSnapshot == 0 && !d.synced {
		return nil
	}
	err := d.decode(&reader{b: msg})
	d.synced = err == nil
	return err
}

func (d *Decoder) decode(r *reader) error {
	head := r.uint()
	ticks := head >> headBits
	snapshot := head&headSnapshot != 0
	var ack uint64
	if head&headAck != 0 {
		ack = r.uint()
	}
	if r.bad || ack > math.MaxUint32 {
		return fmt.Errorf("%w: its head is cut off", ErrMalformed)
	}
	root := d.root
	switch {
	case snapshot:
		d.tick, d.ack, root = ticks, uint32(ack), d.types[0].zero()
	case ticks == 0:
		return fmt.Errorf("%w: a patch of no tick", ErrMalformed)
	default:
		d.tick += ticks
		d.ack += uint32(ack)
	}
	if r.at < len(r.b) {
		r.fields(d.types[0], root, r.uint(), true)
	}
	if r.bad || r.at < len(r.b) {
		return fmt.Errorf("%w: at byte %d of %d", ErrMalformed, r.at, len(r.b))
	}
	d.root = root
	return nil
}

// reader reads a message. After an error it returns zeros.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) fail() { r.bad = true }

func (r *reader) byte() byte {
	if r.bad || r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)-r.at) {
		r.bad = true
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

func (r *reader) uint() (x uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := r.byte()
		if shift == 63 && c > 1 {
			break
		}
		x |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return x
		}
	}
	r.bad = true
	return 0
}

func (r *reader) string() string { return string(r.bytes(r.uint())) }

// count reads the number of items that each take at least a byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)-r.at) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) num() float64 {
	c := r.byte()
	switch {
	case c < numInt2:
		return float64(c)
	case c < numNeg1:
		return float64(int(c&0x3f)<<8 | int(r.byte()))
	case c < numNeg2:
		return float64(-1 - int(c&0x1f))
	case c < numFloat32:
		return float64(-1 - (int(c&0xf)<<8 | int(r.byte())))
	}
	n := uint64(4)
	if c == numFloat64 {
		n = 8
	} else if c != numFloat32 {
		r.bad = true
	}
	var x uint64
	for i, c := range r.bytes(n) {
		x |= uint64(c) << (8 * i)
	}
	if n == 4 {
		return float64(math.Float32frombits(uint32(x)))
	}
	return math.Float64frombits(x)
}

// fields reads the fields of mask.
func (r *reader) fields(o *object, t *tree, mask uint64, root bool) {
	if len(o.fields) < 64 && mask>>len(o.fields) != 0 {
		r.fail()
	}
	for i := 0; i < len(o.fields) && !r.bad; i++ {
		if mask>>i&1 == 0 {
			continue
		}
		v := &o.fields[i].value
		if v.kind == kindBool {
			t.cells[i].n ^= 1
			continue
		}
		r.cell(v, &t.cells[i], root)
	}
}

// cell reads the change of one value.
func (r *reader) cell(v *shape, c *cell, root bool) {
	switch v.kind {
	case kindStr:
		c.s = r.string()
	case kindBool, kindU8, kindI8, kindEnum:
		c.n = uint64(r.byte())
		if v.kind == kindI8 {
			c.n = uint64(int8(c.n))
		}
		if v.kind == kindEnum && c.n >= uint64(len(v.enum)) || v.kind == kindBool && c.n > 1 {
			c.n = 0 // so that the state stays readable
			r.fail()
		}
	case kindNum:
		c.n = math.Float64bits(r.num())
	case kindTurn:
		n, steps := int64(c.n)+unzigzag(r.uint()), int64(v.scale)
		if n >= steps/2 {
			n -= steps
		} else if n < -steps/2 {
			n += steps
		}
		c.n = uint64(n)
	case kindInt, kindBig, kindUbig, kindQ:
		c.n += uint64(unzigzag(r.uint()))
	case kindStruct:
		r.object(v, c)
	case kindObj:
		switch r.byte() {
		case 0:
			c.obj = nil
		case 1:
			r.object(v, c)
		default:
			r.fail()
		}
	case kindList:
		r.list(v, c, root)
	case kindMap:
		r.mapOf(v, c, root)
	}
}

func (r *reader) object(v *shape, c *cell) {
	if c.obj == nil {
		c.obj = v.obj.zero()
	}
	r.fields(v.obj, c.obj, r.uint(), false)
}

// records reads the changes of the entries of a section that find returns.
func (r *reader) records(v *shape, root bool, tag uint64, find func(at int) *cell) {
	at, mask := -1, uint64(0)
	for ; tag != 0 && !r.bad; tag = r.tag(root) {
		at += int(min(tag>>1, maxHandles))
		var c *cell
		if tag > 1 {
			c = find(at)
		}
		if c == nil {
			r.fail()
			return
		}
		if v.obj == nil {
			if tag&1 != 0 {
				r.fail()
			}
			r.cell(v, c, false)
			continue
		}
		if tag&1 == 0 {
			mask = r.uint()
		}
		if c.obj == nil {
			r.fail()
			return
		}
		r.fields(v.obj, c.obj, mask, false)
	}
}

// tag reads the tag of a record. The end of the message ends a section of the root.
func (r *reader) tag(root bool) uint64 {
	if root && r.at == len(r.b) {
		return 0
	}
	return r.uint()
}

func (r *reader) list(v *shape, c *cell, root bool) {
	tag := r.tag(root)
	if tag == 1 {
		start, removed, n := r.uint(), r.uint(), r.count()
		if size := uint64(len(c.list)); start > size || removed > size-start {
			r.fail()
		}
		items := make([]cell, n)
		for i := range items {
			r.cell(v.elem, &items[i], false)
		}
		if r.bad {
			return
		}
		c.list = slices.Replace(c.list, int(start), int(start+removed), items...)
		tag = r.tag(root)
	}
	r.records(v.elem, root, tag, func(at int) *cell {
		if at >= len(c.list) {
			return nil
		}
		return &c.list[at]
	})
}

func (r *reader) mapOf(v *shape, c *cell, root bool) {
	tag := r.tag(root)
	if tag == 1 {
		if c.m == nil {
			c.m = map[int]*entry{}
		}
		h := -1
		for range r.count() {
			gap := r.uint()
			h += int(min(gap, maxHandles))
			if _, ok := c.m[h]; !ok || gap == 0 {
				r.fail()
				return
			}
			delete(c.m, h)
		}
		r.enters(v, c)
		tag = r.tag(root)
	}
	r.records(v.elem, root, tag, func(at int) *cell {
		if e := c.m[at]; e != nil {
			return &e.cell
		}
		return nil
	})
}

// enters reads the entries that enter a map.
func (r *reader) enters(v *shape, c *cell) {
	h, mask := -1, uint64(0)
	for tag := r.uint(); tag != 0 && !r.bad; tag = r.uint() {
		h += int(min(tag>>1, maxHandles))
		if v.elem.obj != nil && tag&1 == 0 {
			mask = r.uint()
		}
		e := &entry{}
		switch v.key {
		case kindStr:
			e.key.s = r.string()
		case kindInt:
			e.key.n = uint64(unzigzag(r.uint()))
		default:
			e.key.n = r.uint()
		}
		if c.m[h] != nil || tag < 2 || h >= maxHandles {
			r.fail()
			return
		}
		c.m[h] = e
		if v.elem.obj == nil {
			r.cell(v.elem, &e.cell, false)
			continue
		}
		e.obj = v.elem.obj.zero()
		r.fields(v.elem.obj, e.obj, mask, false)
	}
}

// State returns a copy of the state as plain values. Structs and maps are map[string]any,
// and lists are []any. Integers are int64, or uint64 if they are unsigned and tagged big.
// Floats are float64, an enum is its text, and a nil pointer is nil. The keys of maps
// with integer keys are decimal.
func (d *Decoder) State() map[string]any { return d.types[0].plain(d.root) }

func (o *object) plain(t *tree) map[string]any {
	out := make(map[string]any, len(o.fields))
	for i := range o.fields {
		f := &o.fields[i]
		at := out
		for _, part := range f.path[:len(f.path)-1] {
			next, ok := at[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[part] = next
			}
			at = next
		}
		at[f.path[len(f.path)-1]] = f.value.plain(&t.cells[i])
	}
	return out
}

func (v *shape) plain(c *cell) any {
	switch v.kind {
	case kindBool:
		return c.n != 0
	case kindStr:
		return c.s
	case kindEnum:
		return v.enum[c.n]
	case kindNum, kindQ, kindTurn:
		return v.float(c.n)
	case kindUbig:
		return c.n
	case kindObj, kindStruct:
		if c.obj == nil {
			return nil
		}
		return v.obj.plain(c.obj)
	case kindList:
		out := make([]any, len(c.list))
		for i := range c.list {
			out[i] = v.elem.plain(&c.list[i])
		}
		return out
	case kindMap:
		out := make(map[string]any, len(c.m))
		for _, e := range c.m {
			out[v.keyText(e.key)] = v.elem.plain(&e.cell)
		}
		return out
	}
	return int64(c.n)
}

func (v *shape) keyText(k key) string {
	switch v.key {
	case kindStr:
		return k.s
	case kindInt:
		return strconv.FormatInt(int64(k.n), 10)
	}
	return strconv.FormatUint(k.n, 10)
}

// Get returns the value at a path of names, keys and indices, as [Decoder.State] does,
// and reports whether there is one: d.Get("frogs", "1", "x").
func (d *Decoder) Get(path ...string) (any, bool) {
	var at any = d.State()
	for _, p := range path {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[p]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

// maxHandles bounds handles and gaps. It covers a full map and as many handles freed in
// one tick.
const maxHandles = 2 * maxEntries

func (o *object) zero() *tree { return &tree{cells: make([]cell, len(o.fields))} }

func (v *shape) float(n uint64) float64 { return (&value{kind: v.kind, scale: v.scale}).float(n) }
