package message

import (
	"errors"
	"fmt"
)

// ErrCodeUnknown is returned for a route code that is not in the dictionary.
var ErrCodeUnknown = errors.New("message: unknown route code")

// Dictionary maps routes to two-byte codes and back. It is immutable, and may be used concurrently. A nil *Dictionary
// is empty.
type Dictionary struct {
	codes  map[string]uint16
	routes map[uint16]string
}

// NewDictionary returns a dictionary with a copy of codes, or nil if codes is empty. It returns an error if a route is
// empty or longer than MaxRouteLength bytes, and if two routes have the same code.
func NewDictionary(codes map[string]uint16) (*Dictionary, error) {
	for route := range codes {
		if route == "" || len(route) > MaxRouteLength {
			return nil, fmt.Errorf("message: dictionary route %q has %d bytes, want 1 to %d", route, len(route), MaxRouteLength)
		}
	}
	return ReadDictionary(codes)
}

// ReadDictionary is NewDictionary for the dictionary of a server, in which routes may have any length: only their codes
// are sent.
func ReadDictionary(codes map[string]uint16) (*Dictionary, error) {
	if len(codes) == 0 {
		return nil, nil
	}
	d := &Dictionary{codes: make(map[string]uint16, len(codes)), routes: make(map[uint16]string, len(codes))}
	for route, code := range codes {
		if other, taken := d.routes[code]; taken {
			a, b := min(route, other), max(route, other)
			return nil, fmt.Errorf("message: dictionary code %d stands for %q and for %q", code, a, b)
		}
		d.codes[route], d.routes[code] = code, route
	}
	return d, nil
}

// Code returns the code of a route.
func (d *Dictionary) Code(route string) (uint16, bool) {
	if d == nil {
		return 0, false
	}
	code, ok := d.codes[route]
	return code, ok
}

// Route returns the route of a code.
func (d *Dictionary) Route(code uint16) (string, bool) {
	if d == nil {
		return "", false
	}
	route, ok := d.routes[code]
	return route, ok
}

// Codes returns all entries, for the handshake. The caller must not change the map.
func (d *Dictionary) Codes() map[string]uint16 {
	if d == nil {
		return nil
	}
	return d.codes
}
