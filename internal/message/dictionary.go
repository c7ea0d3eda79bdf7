package message

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ErrCodeUnknown is returned for a route code that is not in the dictionary.
var ErrCodeUnknown = errors.New("message: unknown route code")

// Dictionary maps routes to two-byte codes and back. It is immutable, and may be used concurrently. A nil *Dictionary
// is empty.
type Dictionary struct {
	codes  map[string]uint16
	routes map[uint16]string
}

// NewDictionary returns a dictionary with a copy of codes, or nil if codes is empty. It returns all errors of
// CheckDictionary, joined.
func NewDictionary(codes map[string]uint16) (*Dictionary, error) {
	if errs := CheckDictionary(codes); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return ReadDictionary(codes)
}

// CheckDictionary returns an error for each route that is empty or longer than MaxRouteLength bytes, and for each route
// that has the code of another one. The errors are in the order of the routes.
func CheckDictionary(codes map[string]uint16) (errs []error) {
	first := make(map[uint16]string, len(codes))
	for _, route := range slices.Sorted(maps.Keys(codes)) {
		if route == "" || len(route) > MaxRouteLength {
			errs = append(errs, fmt.Errorf("message: dictionary route %q has %d bytes, want 1 to %d", route, len(route), MaxRouteLength))
		}
		code := codes[route]
		if other, taken := first[code]; taken {
			errs = append(errs, sharedCode(code, other, route))
			continue
		}
		first[code] = route
	}
	return errs
}

func sharedCode(code uint16, a, b string) error {
	return fmt.Errorf("message: dictionary code %d stands for %q and for %q", code, a, b)
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
			return nil, sharedCode(code, min(route, other), max(route, other))
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
