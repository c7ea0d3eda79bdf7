package contract

import (
	"fmt"
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/packages"
)

// hooks lists the methods of a room that do not handle messages.
var hooks = map[string]bool{
	"OnCreate": true, "OnJoin": true, "OnDrop": true, "OnReturn": true, "OnLeave": true, "OnClose": true, "Tick": true, "View": true,
	"Save": true, "Load": true,
}

// room reads a call of room.Define.
func (s *source) room(p *packages.Package, call *ast.CallExpr) error {
	named, ok := types.Unalias(typeArgument(p, call)).(*types.Named)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	name, ok := s.text(p, call.Args[0])
	if !ok {
		return fmt.Errorf("%s: the name of room.Define is not a constant", s.at(call))
	}
	r := Room{Kind: name, Type: typeName(named), Doc: s.doc(named.Obj()), State: &Type{Kind: KindAny}, Messages: []Route{}}
	state, _, _ := types.LookupFieldOrMethod(types.NewPointer(named), true, nil, "State")
	if v, ok := state.(*types.Var); ok {
		var err error
		if r.State, err = s.stateType(v.Type(), stateTags{}); err != nil {
			return fmt.Errorf("room %s: state: %w", name, err)
		}
	}
	for _, m := range methods(named) {
		if m.Pkg() == nil || m.Pkg().Path() == roomPath {
			continue
		}
		in, out := m.Signature().Params(), m.Signature().Results()
		switch m.Name() {
		case "OnCreate":
			if in.Len() == 1 {
				t, err := s.payload(in.At(0).Type())
				if err != nil {
					return fmt.Errorf("room %s: OnCreate: %w", name, err)
				}
				r.Create = t
			}
			continue
		case "OnJoin":
			if in.Len() == 2 {
				t, err := s.payload(in.At(1).Type())
				if err != nil {
					return fmt.Errorf("room %s: OnJoin: %w", name, err)
				}
				r.Join = t
			}
			if out.Len() > 0 && !isError(out.At(0).Type()) {
				t, err := s.payload(out.At(0).Type())
				if err != nil {
					return fmt.Errorf("room %s: OnJoin: reply: %w", name, err)
				}
				r.Reply = t
			}
			continue
		}
		if hooks[m.Name()] || in.Len() != 2 || !isPointerTo(in.At(0).Type(), roomPath, "Player") {
			continue
		}
		msg := Route{Route: m.Name(), Kind: Notify, Component: r.Type, Method: m.Name(), Doc: s.doc(m)}
		var err error
		if msg.Request, err = s.payload(in.At(1).Type()); err != nil {
			return fmt.Errorf("room %s: %s: %w", name, m.Name(), err)
		}
		if out.Len() > 0 && !isError(out.At(0).Type()) {
			msg.Kind = Request
			if reply := out.At(0).Type(); isPayload(reply) {
				msg.Reply = &Type{Kind: KindRaw} // the server sends the bytes as they are
			} else if msg.Reply, err = s.payload(reply); err != nil {
				return fmt.Errorf("room %s: %s: reply: %w", name, m.Name(), err)
			}
		}
		r.Messages = append(r.Messages, msg)
	}
	s.contract.Rooms = append(s.contract.Rooms, r)
	return nil
}
