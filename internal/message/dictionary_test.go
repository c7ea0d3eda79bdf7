package message

import (
	"maps"
	"strings"
	"testing"
)

func TestDictionary(t *testing.T) {
	codes := map[string]uint16{"Room.Join": 1, "房间": 0, "x": 0xffff, long: 7}
	d, err := NewDictionary(codes)
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(codes)
	clear(codes)
	for route, code := range want {
		if got, ok := d.Code(route); !ok || got != code {
			t.Errorf("Code(%q) = %d, %v, want %d", route, got, ok, code)
		}
		if got, ok := d.Route(code); !ok || got != route {
			t.Errorf("Route(%d) = %q, %v, want %q", code, got, ok, route)
		}
	}
	if !maps.Equal(d.Codes(), want) {
		t.Errorf("Codes() = %v, want %v", d.Codes(), want)
	}
	if code, ok := d.Code("room.join"); ok {
		t.Errorf("Code(room.join) = %d, want none", code)
	}
	if route, ok := d.Route(2); ok {
		t.Errorf("Route(2) = %q, want none", route)
	}
}

func TestEmptyDictionary(t *testing.T) {
	for _, codes := range []map[string]uint16{nil, {}} {
		d, err := NewDictionary(codes)
		if d != nil || err != nil {
			t.Errorf("NewDictionary(%v) = %v, %v, want nil, nil", codes, d, err)
		}
	}
	var d *Dictionary
	if code, ok := d.Code("a"); ok {
		t.Errorf("nil: Code(a) = %d, want none", code)
	}
	if route, ok := d.Route(0); ok {
		t.Errorf("nil: Route(0) = %q, want none", route)
	}
	if d.Codes() != nil {
		t.Errorf("nil: Codes() = %v, want nil", d.Codes())
	}
}

func TestDictionaryErrors(t *testing.T) {
	tests := map[string]struct {
		codes map[string]uint16
		want  string
	}{
		"two routes, one code": {map[string]uint16{"b": 1, "a": 1, "c": 2}, `code 1 stands for "a" and for "b"`},
		"empty route":          {map[string]uint16{"": 1}, `has 0 bytes, want 1 to 255`},
		"all at once": {
			map[string]uint16{"e": 2, "d": 1, "c": 2, "b": 1, "a": 1, "": 3},
			`message: dictionary route "" has 0 bytes, want 1 to 255
message: dictionary code 1 stands for "a" and for "b"
message: dictionary code 1 stands for "a" and for "d"
message: dictionary code 2 stands for "c" and for "e"`,
		},
		"route too long": {map[string]uint16{long + "r": 1}, `has 256 bytes, want 1 to 255`},
	}
	for name, test := range tests {
		d, err := NewDictionary(test.codes)
		if err == nil || d != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: NewDictionary = %v, %v, want an error with %q", name, d, err, test.want)
		}
	}
}
