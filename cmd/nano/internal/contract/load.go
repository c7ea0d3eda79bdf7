package contract

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// These are the import paths that the loader looks for.
const (
	module        = "github.com/lonng/nano"
	componentPath = module + "/component"
	sessionPath   = module + "/session"
	roomPath      = module + "/room"
)

// source is the parsed source of a program.
type source struct {
	fset     *token.FileSet
	main     *packages.Package
	own      []*packages.Package          // packages of the program's module, dependencies first
	packages map[string]*packages.Package // the same packages by import path
	docs     map[token.Pos]string         // doc comments, by the position of the declared name
	declared map[string]*types.Named      // the types of the contract
	within   map[string]bool              // named types that are not structs and are being read
	contract *Contract
}

// Load reads the contract of a program from its package. dir is the directory of the
// pattern; "" is the working directory. Packages that do not compile are an error. If
// route names are not constant, Load builds the program and starts it with args. The
// program then writes its routes instead of serving.
func Load(ctx context.Context, dir, pattern string, args ...string) (*Contract, error) {
	s := &source{
		fset:     token.NewFileSet(),
		packages: map[string]*packages.Package{},
		docs:     map[token.Pos]string{},
		declared: map[string]*types.Named{},
		within:   map[string]bool{},
	}
	if err := s.load(ctx, dir, pattern); err != nil {
		return nil, err
	}
	if s.main.Name != "main" {
		return nil, fmt.Errorf("%s is package %s, want a main package", s.main.PkgPath, s.main.Name)
	}
	s.contract = &Contract{
		Version:    Version,
		Package:    s.main.PkgPath,
		Serializer: "protobuf",
		Routes:     []Route{},
		Pushes:     []Push{},
		Rooms:      []Room{},
		Errors:     []Error{},
		Types:      map[string]*Type{},
	}
	s.findSerializer()
	dynamic, err := s.scan()
	if err != nil {
		return nil, err
	}
	if dynamic != "" {
		routes, err := ask(ctx, dir, pattern, args)
		if err != nil {
			return nil, fmt.Errorf("%s: the routes are not constant, and the program did not print them: %w", dynamic, err)
		}
		if err := s.addRoutes(routes); err != nil {
			return nil, err
		}
	}
	s.sort()
	return s.contract, nil
}

// load reads the program's own packages from source. The types of other packages come
// from the compiler's export data, which is much faster.
func (s *source) load(ctx context.Context, dir, pattern string) error {
	config := &packages.Config{
		Context: ctx,
		Dir:     dir,
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedModule,
	}
	list, err := packages.Load(config, pattern)
	if err != nil {
		return fmt.Errorf("load %s: %w", pattern, err)
	}
	if len(list) != 1 {
		return fmt.Errorf("%s names %d packages, want 1", pattern, len(list))
	}
	s.main = list[0]
	if err := faults(list); err != nil {
		return err
	}
	var own []string // dependencies first
	packages.Visit(list, nil, func(p *packages.Package) {
		if s.isOwn(p) {
			own = append(own, p.PkgPath)
		}
	})
	config.Fset = s.fset
	config.Mode = packages.NeedName | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedModule |
		packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo
	if list, err = packages.Load(config, own...); err != nil {
		return fmt.Errorf("load %s: %w", pattern, err)
	}
	if err := faults(list); err != nil {
		return err
	}
	for _, p := range list {
		s.packages[p.PkgPath] = p
	}
	s.main = s.packages[s.main.PkgPath]
	for _, path := range own {
		p := s.packages[path]
		s.own = append(s.own, p)
		for _, f := range p.Syntax {
			s.readDocs(f)
		}
	}
	return nil
}

// faults returns the first errors of packages.
func faults(list []*packages.Package) error {
	var errs []error
	packages.Visit(list, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			switch {
			case strings.HasPrefix(e.Msg, "# ") && len(p.Errors) > 1: // output of the compiler, which the other errors repeat
			case e.Pos == "" || e.Pos == "-":
				errs = append(errs, errors.New(e.Msg))
			default:
				errs = append(errs, e)
			}
		}
	})
	return errors.Join(errs[:min(len(errs), 10)]...)
}

// isOwn reports whether a package belongs to the program. It is then in the module of the
// main package, or in a local module of a replace line. The library does not belong to
// it.
func (s *source) isOwn(p *packages.Package) bool {
	if p.PkgPath == s.main.PkgPath || strings.HasPrefix(p.PkgPath, s.main.PkgPath+"/") {
		return true
	}
	if p.Module == nil || p.Module.Path == module || s.main.Module == nil {
		return false
	}
	return p.Module.Path == s.main.Module.Path || p.Module.Replace != nil && p.Module.Replace.Version == ""
}

func (s *source) readDocs(f *ast.File) {
	text := func(groups ...*ast.CommentGroup) string {
		for _, g := range groups {
			if t := strings.TrimSpace(g.Text()); t != "" {
				return t
			}
		}
		return ""
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.docs[d.Name.Pos()] = text(d.Doc)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					doc := spec.Doc
					if len(d.Specs) == 1 && doc == nil {
						doc = d.Doc
					}
					s.docs[spec.Name.Pos()] = text(doc, spec.Comment)
				case *ast.ValueSpec:
					doc := spec.Doc
					if len(d.Specs) == 1 && doc == nil {
						doc = d.Doc
					}
					for _, n := range spec.Names {
						s.docs[n.Pos()] = text(doc, spec.Comment)
					}
				}
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if st, ok := n.(*ast.StructType); ok {
			for _, field := range st.Fields.List {
				for _, name := range field.Names {
					s.docs[name.Pos()] = text(field.Doc, field.Comment)
				}
			}
		}
		return true
	})
}

func (s *source) doc(o types.Object) string { return s.docs[o.Pos()] }

// at returns the position of a node as text.
func (s *source) at(n ast.Node) string { return s.place(n.Pos()) }

// position returns the position of an object's declaration.
func (s *source) position(o types.Object) string { return s.place(o.Pos()) }

func (s *source) place(pos token.Pos) string {
	p := s.fset.Position(pos)
	return fmt.Sprintf("%s:%d", filepath.Base(p.Filename), p.Line)
}

func (s *source) sort() {
	c := s.contract
	slices.SortFunc(c.Routes, func(a, b Route) int { return strings.Compare(a.Route, b.Route) })
	c.Pushes = CompactPushes(c.Pushes)
	slices.SortFunc(c.Rooms, func(a, b Room) int { return strings.Compare(a.Kind, b.Kind) })
	codes := map[string]Error{}
	for _, e := range c.Errors {
		if old, ok := codes[e.Code]; !ok || e.Text < old.Text {
			codes[e.Code] = e
		}
	}
	c.Errors = []Error{}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		c.Errors = append(c.Errors, codes[code])
	}
}
