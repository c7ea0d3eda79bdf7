package room

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// Info describes a room.
type Info struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind"`
	Players int            `json:"players"` // with held and reserved seats
	Seats   int            `json:"seats"`
	Locked  bool           `json:"locked,omitempty"`
	Label   map[string]any `json:"label,omitempty"`
}

func (c *core) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{ID: c.id, Kind: c.kind.name, Players: c.taken, Seats: c.kind.options.seats, Locked: c.locked, Label: maps.Clone(c.labels)}
}

// open reports whether a new player may join, as far as one can know without asking the room.
func (i Info) open() bool { return !i.Locked && i.Players < i.Seats }

// Filter selects rooms by their labels.
type Filter struct {
	Equal  map[string]any `json:"equal,omitempty"`  // labels that have to be equal
	Near   string         `json:"near,omitempty"`   // a label that is a number, such as a rank
	At     float64        `json:"at,omitempty"`     // what Near is to be close to
	Within float64        `json:"within,omitempty"` // how far it may be off; rooms that are closer come first
}

// normal makes numbers comparable.
func normal(v any) any {
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return float64(r.Int())
	case r.CanUint():
		return float64(r.Uint())
	case r.CanFloat():
		return r.Float()
	case r.Kind() == reflect.String:
		return r.String()
	case r.Kind() == reflect.Bool:
		return r.Bool()
	}
	return v
}

// accepts reports whether a room fits the filter, and how far its label Near is off.
func (f Filter) accepts(i Info) (off float64, ok bool) {
	for k, v := range f.Equal {
		have, ok := i.Label[k]
		if !ok || have != normal(v) {
			return 0, false
		}
	}
	if f.Near == "" {
		return 0, true
	}
	n, ok := i.Label[f.Near].(float64)
	if !ok {
		return 0, false
	}
	off = max(n-f.At, f.At-n)
	return off, off <= f.Within
}

// order sorts rooms: the closest first, then the fullest, then by id.
func (f Filter) order(list []Info) []Info {
	type ranked struct {
		Info
		off float64
	}
	var fit []ranked
	for _, i := range list {
		if off, ok := f.accepts(i); ok {
			fit = append(fit, ranked{i, off})
		}
	}
	slices.SortFunc(fit, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(b.Players, a.Players), cmp.Compare(a.ID, b.ID))
	})
	out := make([]Info, len(fit))
	for i, r := range fit {
		out[i] = r.Info
	}
	return out
}
