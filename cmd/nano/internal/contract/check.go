package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checker finds the first type of a contract that lacks a part.
type checker struct {
	contract *Contract
	err      error
}

// check returns an error if the contract lacks a part that its readers rely on.
func (c *Contract) check() error {
	k := &checker{contract: c}
	k.routes("route", c.Routes)
	for _, p := range c.Pushes {
		k.required("push "+p.Route, p.Type)
	}
	for _, r := range c.Rooms {
		k.required("state of room "+r.Kind, r.State)
		k.optional("join of room "+r.Kind, r.Join)
		k.optional("create of room "+r.Kind, r.Create)
		k.optional("reply of room "+r.Kind, r.Reply)
		k.routes("message "+r.Kind, r.Messages)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Types)) {
		k.required("type "+name, c.Types[name])
	}
	return k.err
}

func (k *checker) routes(what string, list []Route) {
	for _, r := range list {
		k.required("request of "+what+" "+r.Route, r.Request)
		k.optional("reply of "+what+" "+r.Route, r.Reply)
	}
}

func (k *checker) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf(format, args...)
	}
}

func (k *checker) optional(where string, t *Type) {
	if t != nil {
		k.required(where, t)
	}
}

func (k *checker) required(where string, t *Type) {
	if t == nil {
		k.fail("the %s has no type", where)
		return
	}
	switch t.Kind {
	case KindMap:
		k.required("key of "+where, t.Key)
		k.required("value of "+where, t.Elem)
	case KindList, KindEnum:
		k.required("element of "+where, t.Elem)
	case KindRef:
		if k.contract.Types[t.Name] == nil {
			k.fail("the %s is %q, which is not among the types", where, t.Name)
		}
	}
	for _, f := range t.Fields {
		k.required("field "+f.Name+" of "+where, f.Type)
		if t.Kind == KindMessage && f.Type != nil && f.Type.Kind == KindMap && strings.Count(f.Wire, ":") != 2 {
			k.fail("the field %s of %s has the encoding %q, want that of a map", f.Name, where, f.Wire)
		}
	}
}
