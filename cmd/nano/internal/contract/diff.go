package contract

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Diff returns the changes that break clients of an older contract. Such a change removes
// a route, push, room, error code or field. Other such changes are an input type that
// accepts less and an output type with more values. The result is sorted.
func Diff(old, now *Contract) []string {
	d := &differ{old: old, now: now, seen: map[string]bool{}}
	if old.Serializer != now.Serializer {
		d.add("the serializer was %q and is %q", old.Serializer, now.Serializer)
	}
	d.routes("route", old.Routes, now.Routes)
	pushes := map[string]Push{}
	for _, p := range now.Pushes {
		pushes[p.Route] = p
	}
	for _, p := range old.Pushes {
		if n, ok := pushes[p.Route]; !ok {
			d.add("push %s is gone", p.Route)
		} else {
			d.typ("push "+p.Route, p.Type, n.Type, false)
		}
	}
	codes := map[string]bool{}
	for _, e := range now.Errors {
		codes[e.Code] = true
	}
	for _, e := range old.Errors {
		if !codes[e.Code] {
			d.add("error %s is gone", e.Code)
		}
	}
	rooms := map[string]Room{}
	for _, r := range now.Rooms {
		rooms[r.Kind] = r
	}
	for _, r := range old.Rooms {
		n, ok := rooms[r.Kind]
		if !ok {
			d.add("room %s is gone", r.Kind)
			continue
		}
		d.typ("state of room "+r.Kind, r.State, n.State, false)
		d.typ("join of room "+r.Kind, r.Join, n.Join, true)
		d.typ("create of room "+r.Kind, r.Create, n.Create, true)
		d.typ("reply of room "+r.Kind, r.Reply, n.Reply, false)
		d.routes("message "+r.Kind, r.Messages, n.Messages)
	}
	slices.Sort(d.breaks)
	return slices.Compact(d.breaks)
}

type differ struct {
	old, now *Contract
	breaks   []string
	seen     map[string]bool // pairs of named types that were compared or are being compared
}

func (d *differ) add(format string, args ...any) {
	d.breaks = append(d.breaks, fmt.Sprintf(format, args...))
}

func (d *differ) routes(what string, old, now []Route) {
	byRoute := map[string]Route{}
	for _, r := range now {
		byRoute[r.Route] = r
	}
	for _, r := range old {
		if r.Internal {
			continue
		}
		name := what + " " + r.Route
		n, ok := byRoute[r.Route]
		switch {
		case !ok:
			d.add("%s is gone", name)
		case n.Internal:
			d.add("%s is not for clients any more", name)
		default:
			d.typ("request of "+name, r.Request, n.Request, true)
			if r.Reply != nil && n.Reply == nil {
				d.add("%s has no reply any more", name)
			} else if r.Reply != nil {
				d.typ("reply of "+name, r.Reply, n.Reply, false)
			}
		}
	}
}

// resolve follows a reference to a named type.
func resolve(c *Contract, t *Type) *Type {
	if t.Kind != KindRef {
		return t
	}
	named := c.Types[t.Name]
	if named == nil {
		return t
	}
	r := *named
	r.Nullable = r.Nullable || t.Nullable
	return &r
}

// typ compares two types. For input (in) the server must still accept every old value.
// For output it must not send any new value.
func (d *differ) typ(where string, old, now *Type, in bool) {
	if old == nil || now == nil {
		if old != nil {
			d.add("%s is gone", where)
		} else if now != nil && in && required(d.now, now) {
			d.add("%s is new and has required fields", where)
		}
		return
	}
	if old.Kind == KindRef && now.Kind == KindRef {
		key := fmt.Sprintf("%s\x00%s\x00%v", old.Name, now.Name, in)
		if d.seen[key] {
			d.nullable(where, old, now, in)
			return
		}
		d.seen[key] = true
	}
	old, now = resolve(d.old, old), resolve(d.now, now)
	d.nullable(where, old, now, in)
	if old.Kind == KindAny && !in || now.Kind == KindAny && in {
		return
	}
	from, to := old, now // every value of from has to be a value of to
	if !in {
		from, to = now, old
	}
	if from.Kind == KindEnum && to.Kind == from.Elem.Kind {
		return
	}
	// In JSON an integer is also a float. The other serializers encode the two differently.
	if in && old.Kind == KindInt && now.Kind == KindFloat && d.now.Serializer == "json" &&
		old.Quoted == now.Quoted && covers(now, old) {
		return
	}
	if old.Kind != now.Kind {
		d.add("%s was %s and is %s", where, describe(old), describe(now))
		return
	}
	if old.Quoted != now.Quoted || old.Big != now.Big {
		d.add("%s was %s and is %s", where, describe(old), describe(now))
	}
	switch old.Kind {
	case KindInt, KindFloat:
		if !covers(to, from) {
			d.add("%s was %s and is %s", where, describe(old), describe(now))
		}
	case KindList:
		if old.Len != now.Len && (!in || now.Len != 0) { // a request with a slice takes any length
			d.add("%s had length %d and has length %d", where, old.Len, now.Len)
		}
		d.typ("an element of "+where, old.Elem, now.Elem, in)
	case KindMap:
		d.typ("a key of "+where, old.Key, now.Key, in)
		d.typ("a value of "+where, old.Elem, now.Elem, in)
	case KindEnum:
		d.enum(where, old, now, in)
	case KindStruct, KindMessage:
		d.fields(where, old, now, in)
	}
}

func (d *differ) nullable(where string, old, now *Type, in bool) {
	if in && old.Nullable && !now.Nullable {
		d.add("%s may not be null any more", where)
	} else if !in && !old.Nullable && now.Nullable {
		d.add("%s may be null now", where)
	}
}

func (d *differ) enum(where string, old, now *Type, in bool) {
	values := func(t *Type) map[string]bool {
		m := map[string]bool{}
		for _, v := range t.Values {
			m[valueText(v.Value)] = true
		}
		return m
	}
	from, to := values(old), values(now)
	if !in {
		from, to = to, from
	}
	for _, v := range slices.Sorted(maps.Keys(from)) {
		if !to[v] {
			if in {
				d.add("%s does not take the value %s any more", where, v)
			} else {
				d.add("%s may have the new value %s", where, v)
			}
		}
	}
}

// valueText returns the text of an enum value. Numbers are rounded to float64, because
// those of a contract that was read from JSON are.
func valueText(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatFloat(float64(v), 'f', -1, 64)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func (d *differ) fields(where string, old, now *Type, in bool) {
	key := func(f Field) string {
		if f.Number > 0 {
			return fmt.Sprint(f.Number)
		}
		return f.Name
	}
	byKey := map[string]Field{}
	for _, f := range now.Fields {
		byKey[key(f)] = f
	}
	for _, f := range old.Fields {
		name := fmt.Sprintf("field %s of %s", f.Name, where)
		n, ok := byKey[key(f)]
		switch {
		case !ok:
			d.add("%s is gone", name)
			continue
		case !in && !f.Optional && n.Optional:
			d.add("%s may be missing now", name)
		}
		if f.Wire != n.Wire {
			d.add("%s had the encoding %s and has %s", name, f.Wire, n.Wire)
		}
		d.typ(name, f.Type, n.Type, in)
	}
}

// required reports whether a value of the type cannot be absent. encoding/json and
// protobuf require nothing.
func required(c *Contract, t *Type) bool { return resolve(c, t).Kind == KindRaw }

// covers reports whether every number of the type from fits the type to.
func covers(to, from *Type) bool {
	if to.Kind == KindFloat {
		return to.Bits > from.Bits || to.Bits == from.Bits && from.Kind == KindFloat
	}
	switch {
	case to.Unsigned == from.Unsigned:
		return to.Bits >= from.Bits
	case from.Unsigned:
		return to.Bits > from.Bits
	}
	return false
}

func describe(t *Type) string {
	s := t.Kind
	switch t.Kind {
	case KindInt, KindFloat:
		s = fmt.Sprintf("%s%d", t.Kind, t.Bits)
		if t.Unsigned {
			s = "u" + s
		}
	case KindList:
		s = "list of " + describe(t.Elem)
	case KindMap:
		s = "map of " + describe(t.Elem)
	case KindRef, KindEnum, KindStruct, KindMessage:
		if t.Name != "" {
			s = short(t.Name)
		}
	}
	if t.Quoted {
		s += " in a string"
	}
	if t.Big {
		s += " as BigInt"
	}
	return s
}
