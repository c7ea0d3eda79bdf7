package room

import (
	"cmp"
	"reflect"
	"slices"
)

// ranked is a room that fits a filter.
type ranked struct {
	Info
	Off float64 `json:"off"` // distance of the label Near from At
}

// rank returns the room if it fits a filter. If free is true, the room must also accept a
// new player now.
func (c *core) rank(f Filter, free bool) (ranked, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || free && (c.locked || c.taken >= c.kind.options.seats) {
		return ranked{}, false
	}
	off, ok := f.accepts(c.labels)
	if !ok {
		return ranked{}, false
	}
	return ranked{c.infoLocked(), off}, true
}

// Filter selects rooms by their labels.
type Filter struct {
	Equal  map[string]any `json:"equal,omitempty"`  // labels that must be equal
	Near   string         `json:"near,omitempty"`   // name of a numeric label, such as a rank
	At     float64        `json:"at,omitempty"`     // target value of the label Near
	Within float64        `json:"within,omitempty"` // maximum distance of the label from At; closer rooms come first
}

// normal converts numbers to a comparable form.
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

// accepts reports whether a room with the labels fits the filter. off is the distance of
// its label Near from At.
func (f Filter) accepts(label map[string]any) (off float64, ok bool) {
	for k, v := range f.Equal {
		have, ok := label[k]
		if !ok || have != normal(v) {
			return 0, false
		}
	}
	if f.Near == "" {
		return 0, true
	}
	n, ok := label[f.Near].(float64)
	if !ok {
		return 0, false
	}
	off = max(n-f.At, f.At-n)
	return off, off <= f.Within
}

// order sorts rooms by distance, then the fullest first, then by id.
func order(list []ranked) []ranked {
	slices.SortFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.Off, b.Off), cmp.Compare(b.Players, a.Players), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// infos returns the rooms without their rank.
func infos(list []ranked) []Info {
	out := make([]Info, len(list))
	for i, r := range list {
		out[i] = r.Info
	}
	return out
}
