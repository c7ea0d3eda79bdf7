package contract

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// scan finds registrations, pushes, rooms and errors in the program's packages. dynamic
// is the position of a registration whose routes only the running program knows, or "".
func (s *source) scan() (dynamic string, err error) {
	seen := map[string]bool{}
	for _, p := range s.own {
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				if err != nil {
					return false
				}
				if lit, ok := n.(*ast.CompositeLit); ok {
					s.errorLiteral(p, lit)
				}
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				fn := callee(p, call)
				if fn == nil || fn.Pkg() == nil {
					return true
				}
				switch name := fn.Pkg().Path() + "." + receiver(fn) + fn.Name(); name {
				case componentPath + ".Components.Register":
					var known bool
					if known, err = s.register(p, call, seen); !known && err == nil && dynamic == "" {
						dynamic = s.at(call)
					}
				case module + ".PushRoute":
					err = s.push(p, f, call)
				case module + ".Errorf":
					s.errorCall(p, call)
				case roomPath + ".Define":
					err = s.room(p, call)
				}
				return true
			})
		}
	}
	return dynamic, err
}

// findSerializer looks for a call of nano.WithSerializer. The form of every type depends on it.
func (s *source) findSerializer() {
	for _, p := range s.own {
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if fn := callee(p, call); fn != nil && fn.FullName() == module+".WithSerializer" {
						s.serializer(p, call)
					}
				}
				return true
			})
		}
	}
}

// callee returns the function that a call names. For an instance it returns the generic
// function.
func callee(p *packages.Package, call *ast.CallExpr) *types.Func {
	fun := ast.Unparen(call.Fun)
	switch f := fun.(type) {
	case *ast.IndexExpr:
		fun = f.X
	case *ast.IndexListExpr:
		fun = f.X
	}
	var id *ast.Ident
	switch f := fun.(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return nil
	}
	fn, _ := p.TypesInfo.Uses[id].(*types.Func)
	if fn != nil {
		fn = fn.Origin()
	}
	return fn
}

// typeArgument returns the type with which a generic function is instantiated.
func typeArgument(p *packages.Package, call *ast.CallExpr) types.Type {
	fun := ast.Unparen(call.Fun)
	if f, ok := fun.(*ast.IndexExpr); ok {
		fun = f.X
	}
	var id *ast.Ident
	switch f := fun.(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return nil
	}
	if args := p.TypesInfo.Instances[id].TypeArgs; args != nil && args.Len() > 0 {
		return args.At(0)
	}
	return nil
}

// receiver returns the name of a method's receiver type and a dot, or "" for a function.
func receiver(fn *types.Func) string {
	r := fn.Signature().Recv()
	if r == nil {
		return ""
	}
	t := r.Type()
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name() + "."
	}
	return ""
}

// text evaluates a constant string, and strings.ToLower and strings.ToUpper of one.
func (s *source) text(p *packages.Package, e ast.Expr) (string, bool) {
	if v := p.TypesInfo.Types[e].Value; v != nil && v.Kind() == constant.String {
		return constant.StringVal(v), true
	}
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	change := nameFunc(callee(p, call))
	arg, ok := s.text(p, call.Args[0])
	if change == nil || !ok {
		return "", false
	}
	return change(arg), true
}

func nameFunc(fn *types.Func) func(string) string {
	if fn == nil || fn.Pkg() == nil || fn.Pkg().Path() != "strings" {
		return nil
	}
	switch fn.Name() {
	case "ToLower":
		return strings.ToLower
	case "ToUpper":
		return strings.ToUpper
	}
	return nil
}

// registration is a component with its options.
type registration struct {
	component *types.Named
	name      string
	nameFunc  func(string) string
}

// register reads a call of Components.Register. It reports false if only the running program knows the routes.
func (s *source) register(p *packages.Package, call *ast.CallExpr, seen map[string]bool) (known bool, err error) {
	if len(call.Args) == 0 || call.Ellipsis.IsValid() {
		return false, nil
	}
	t := p.TypesInfo.TypeOf(call.Args[0])
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || types.IsInterface(named) {
		return false, nil
	}
	r := registration{component: named, name: s.defaultName(named)}
	if !s.options(p, call.Args[1:], &r) {
		return !s.servesClients(named), nil // clients cannot call the routes of other components, whatever their names
	}
	key := r.name + "\x00" + types.TypeString(named, nil)
	if seen[key] {
		return true, nil
	}
	seen[key] = true
	for _, m := range methods(named) {
		sig, ok := s.signature(m)
		if !ok {
			continue
		}
		name := m.Name()
		if r.nameFunc != nil {
			name = r.nameFunc(name)
		}
		if err := s.route(r.name+"."+name, named, m, sig); err != nil {
			return true, err
		}
	}
	return true, nil
}

// defaultName returns the name of a component that is registered without a name: that of
// its type in package reflect.
func (s *source) defaultName(t *types.Named) string {
	name := t.Obj().Name()
	if t.TypeArgs().Len() == 0 {
		return name
	}
	var list []string
	for a := range t.TypeArgs().Types() {
		list = append(list, types.TypeString(a, func(p *types.Package) string {
			if p.Path() == s.main.PkgPath {
				return "main"
			}
			return p.Path()
		}))
	}
	return name + "[" + strings.Join(list, ",") + "]"
}

// options reads the options of a registration. It reports false if they are not constant.
func (s *source) options(p *packages.Package, args []ast.Expr, r *registration) bool {
	for _, arg := range args {
		option, ok := ast.Unparen(arg).(*ast.CallExpr)
		if !ok {
			return false
		}
		fn := callee(p, option)
		if fn == nil || fn.Pkg() == nil || fn.Pkg().Path() != componentPath {
			return false
		}
		switch fn.Name() {
		case "WithName":
			if r.name, ok = s.text(p, option.Args[0]); !ok {
				return false
			}
		case "WithNameFunc":
			sel, _ := ast.Unparen(option.Args[0]).(*ast.SelectorExpr)
			if sel == nil {
				return false
			}
			f, _ := p.TypesInfo.Uses[sel.Sel].(*types.Func)
			if r.nameFunc = nameFunc(f); r.nameFunc == nil {
				return false
			}
		}
	}
	return true
}

// servesClients reports whether a component has a handler that clients may call.
func (s *source) servesClients(component *types.Named) bool {
	return slices.ContainsFunc(methods(component), func(m *types.Func) bool {
		sig, ok := s.signature(m)
		return ok && sig.session
	})
}

// methods returns the exported methods of a pointer to a type, sorted by name.
func methods(t types.Type) []*types.Func {
	set := types.NewMethodSet(types.NewPointer(t))
	var list []*types.Func
	for sel := range set.Methods() {
		if fn, ok := sel.Obj().(*types.Func); ok && fn.Exported() {
			list = append(list, fn)
		}
	}
	slices.SortFunc(list, func(a, b *types.Func) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// signature holds the parts of a handler's signature that clients depend on.
type signature struct {
	session bool
	request types.Type // nil for a raw payload
	reply   types.Type // nil if there is no reply
}

// signature parses the signature of a handler, as package component defines handlers.
func (s *source) signature(m *types.Func) (sig signature, ok bool) {
	in, out := m.Signature().Params(), m.Signature().Results()
	at := 0
	if at < in.Len() && is(in.At(at).Type(), "context", "Context") {
		at++
	}
	hasContext := at == 1
	if at+1 < in.Len() && isPointerTo(in.At(at).Type(), sessionPath, "Session") {
		sig.session = true
		at++
	}
	if at+1 != in.Len() || m.Signature().Variadic() || !sig.session && !hasContext {
		return sig, false
	}
	request := in.At(at).Type()
	if _, isPointer := types.Unalias(request).(*types.Pointer); isPointer && !isPointerTo(request, sessionPath, "Session") {
		sig.request = request
	} else if !isPayload(request) {
		return sig, false
	}
	switch {
	case out.Len() == 1 && isError(out.At(0).Type()):
		return sig, sig.session
	case out.Len() == 2 && isError(out.At(1).Type()):
		if _, isPointer := types.Unalias(out.At(0).Type()).(*types.Pointer); isPointer {
			sig.reply = out.At(0).Type()
			return sig, true
		}
	}
	return sig, false
}

func is(t types.Type, path, name string) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == name && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == path
}

func isPointerTo(t types.Type, path, name string) bool {
	p, ok := types.Unalias(t).(*types.Pointer)
	return ok && is(p.Elem(), path, name)
}

func isError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }

// isPayload reports whether values of a type bypass the serializer.
func isPayload(t types.Type) bool { return types.Identical(t, types.NewSlice(types.Typ[types.Byte])) }

// route adds a handler to the contract.
func (s *source) route(route string, component *types.Named, m *types.Func, sig signature) error {
	r := Route{
		Route:     route,
		Kind:      Request,
		Component: typeName(component),
		Method:    m.Name(),
		Doc:       s.doc(m),
		Internal:  !sig.session,
	}
	var err error
	if sig.request == nil {
		r.Request = &Type{Kind: KindRaw}
	} else if r.Request, err = s.payload(sig.request); err != nil {
		return fmt.Errorf("%s: request: %w", route, err)
	}
	reply := sig.reply
	if reply == nil {
		reply = s.answered(m)
	}
	switch {
	case reply == nil:
		r.Kind = Notify
	case isPayload(reply):
		r.Reply = &Type{Kind: KindRaw}
	default:
		if r.Reply, err = s.payload(reply); err != nil {
			return fmt.Errorf("%s: reply: %w", route, err)
		}
	}
	s.contract.Routes = append(s.contract.Routes, r)
	return nil
}

// answered returns the type that a handler passes to Session.Response or Responder.Reply.
// It returns nil if there is no such call or if the types differ.
func (s *source) answered(m *types.Func) (reply types.Type) {
	p := s.packages[m.Pkg().Path()]
	if p == nil {
		return nil
	}
	several := false
	for _, f := range p.Syntax {
		for _, d := range f.Decls {
			fd, ok := d.(*ast.FuncDecl)
			if !ok || fd.Body == nil || fd.Name.Pos() != m.Pos() {
				continue
			}
			ast.Inspect(fd.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				fn := callee(p, call)
				if fn == nil || fn.Pkg() == nil || fn.Pkg().Path() != sessionPath {
					return true
				}
				switch receiver(fn) + fn.Name() {
				case "Session.Response", "Session.ResponseMID", "Responder.Reply":
					t := p.TypesInfo.TypeOf(call.Args[len(call.Args)-1])
					if t == types.Typ[types.UntypedNil] {
						return true
					}
					several = several || reply != nil && !types.Identical(reply, t)
					reply = t
				}
				return true
			})
		}
	}
	if several {
		return types.NewInterfaceType(nil, nil)
	}
	return reply
}

// push reads a call of nano.PushRoute.
func (s *source) push(p *packages.Package, f *ast.File, call *ast.CallExpr) error {
	t := typeArgument(p, call)
	route, ok := s.text(p, call.Args[0])
	if t == nil || !ok {
		return fmt.Errorf("%s: the route of nano.PushRoute is not a constant", s.at(call))
	}
	push := Push{Route: route}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				for i, value := range v.Values {
					if value == call {
						push.Name, push.Doc = v.Names[i].Name, s.docs[v.Names[i].Pos()]
					}
				}
			}
		}
	}
	var err error
	if push.Type, err = s.payload(t); err != nil {
		return fmt.Errorf("push %s: %w", route, err)
	}
	s.contract.Pushes = append(s.contract.Pushes, push)
	return nil
}

func (s *source) errorCall(p *packages.Package, call *ast.CallExpr) {
	if len(call.Args) < 2 {
		return
	}
	code, ok := s.text(p, call.Args[0])
	if !ok {
		return
	}
	text, _ := s.text(p, call.Args[1])
	s.contract.Errors = append(s.contract.Errors, Error{code, text})
}

// errorLiteral reads a literal of a nano.Error.
func (s *source) errorLiteral(p *packages.Package, lit *ast.CompositeLit) {
	if !is(p.TypesInfo.TypeOf(lit), module+"/internal/message", "Error") {
		return
	}
	var e Error
	for _, elt := range lit.Elts {
		if kv, ok := elt.(*ast.KeyValueExpr); ok {
			key, _ := kv.Key.(*ast.Ident)
			if key != nil && key.Name == "Code" {
				e.Code, _ = s.text(p, kv.Value)
			} else if key != nil && key.Name == "Message" {
				e.Text, _ = s.text(p, kv.Value)
			}
		}
	}
	if e.Code != "" {
		s.contract.Errors = append(s.contract.Errors, e)
	}
}

// serializer reads a call of nano.WithSerializer.
func (s *source) serializer(p *packages.Package, call *ast.CallExpr) {
	if len(call.Args) != 1 {
		return
	}
	t := p.TypesInfo.TypeOf(call.Args[0])
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	switch {
	case is(t, module+"/serialize/json", "Serializer"):
		s.contract.Serializer = "json"
	case is(t, module+"/serialize/protobuf", "Serializer"):
		s.contract.Serializer = "protobuf"
	default:
		s.contract.Serializer = ""
	}
}
