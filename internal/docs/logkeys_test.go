package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// keysPage is the page whose section keysSection lists the keys of log attributes.
const (
	keysPage    = "docs/observability"
	keysSection = 1 // its number among the headings of level 2
)

// notLibrary are the folders whose log calls are not those of the library: programs, their
// tools, and tests.
var notLibrary = []string{"benchmark", "clients", "cmd", "examples", "internal/runloop/looptest", "internal/testkit", "interop", "test", "tools"}

// logCall is a call that logs, or a list of attributes for one.
type logCall struct {
	at   token.Position
	keys []string
}

// TestLogKeys checks that the log attributes of the library have the keys that the
// documents list, and no others, and that the uid stands beside every session.
func TestLogKeys(t *testing.T) {
	used := map[string]token.Position{}
	count := 0
	for _, c := range logCalls(t) {
		count++
		for _, key := range c.keys {
			used[key] = c.at
		}
		if slices.Contains(c.keys, "session") && !slices.Contains(c.keys, "uid") {
			t.Errorf("%v: a session is logged without its uid", c.at)
		}
	}
	if count < 60 {
		t.Fatalf("found %d log calls, want the library's, at least 60", count)
	}
	for key, file := range map[string]string{ // what handlers of slog add
		"node": "logger.go", "suppressed": "internal/logsample/logsample.go",
	} {
		used[key] = token.Position{Filename: file}
	}
	for _, suffix := range []string{".md", "_zh_CN.md"} {
		listed := listedKeys(t, keysPage+suffix)
		for _, key := range slices.Sorted(maps.Keys(used)) {
			if !listed[key] {
				t.Errorf("%v: the log key %q is not listed in %s", used[key], key, keysPage+suffix)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(listed)) {
			if _, ok := used[key]; !ok {
				t.Errorf("%s lists the log key %q, which the library does not use", keysPage+suffix, key)
			}
		}
	}
}

var tableRow = regexp.MustCompile("^\\| (`[^|]+`) \\|")

// listedKeys returns the keys in the first column of the tables that stand in the section
// of log keys.
func listedKeys(t *testing.T, name string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	section := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "## ") {
			section++
		}
		if m := tableRow.FindStringSubmatch(line); m != nil && section == keysSection {
			for _, key := range inline.FindAllString(m[1], -1) {
				keys[strings.Trim(key, "`")] = true
			}
		}
	}
	return keys
}

// logCalls returns the log calls of the library.
func logCalls(t *testing.T) []logCall {
	t.Helper()
	dir := root(t)
	var calls []logCall
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); slices.Contains(notLibrary, filepath.ToSlash(name)) || n != "." && file != dir && strings.HasPrefix(n, ".") || n == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, ".pb.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		found, err := parseLogCalls(filepath.ToSlash(name), string(text))
		calls = append(calls, found...)
		for _, c := range found {
			if slices.Contains(c.keys, "") {
				t.Errorf("%v: a key of a log attribute is not a string literal", c.at)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// parseLogCalls returns the log calls of a file. A list of attributes that is put together
// first is found if its variable, its parameter or the function that returns it is named
// attrs. The key "" stands for an attribute whose key is not a string literal.
func parseLogCalls(name, text string) (calls []logCall, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, 0)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		fun, ok := d.(*ast.FuncDecl)
		if !ok || fun.Body == nil {
			continue
		}
		lists := fun.Name.Name == "attrs" || mentions(fun, "attrs")
		c := logCall{at: fset.Position(fun.Pos())}
		ast.Inspect(fun.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch attrs, ok := logAttrs(n); {
				case ok && n.Ellipsis.IsValid(): // the list is found below
				case ok:
					calls = append(calls, logCall{fset.Position(n.Pos()), keysOf(attrs)})
				case lists && isIdent(n.Fun, "append") && isIdent(n.Args[0], "attrs"):
					c.keys = append(c.keys, keysOf(n.Args[1:])...)
				}
			case *ast.CompositeLit:
				if a, ok := n.Type.(*ast.ArrayType); lists && ok && a.Len == nil && isIdent(a.Elt, "any") {
					c.keys = append(c.keys, keysOf(n.Elts)...)
				}
			}
			return true
		})
		if len(c.keys) > 0 {
			calls = append(calls, c)
		}
	}
	return calls, nil
}

// methods are the methods of a *slog.Logger, and how many arguments stand before the
// attributes.
var methods = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
	"Log": 3, "LogAttrs": 3, "With": 0,
}

// wrappers are the methods of the library that pass their last arguments on to a logger,
// and how many arguments stand before those.
var wrappers = map[string]int{"note": 2, "panicked": 2, "done": 5}

// logAttrs returns the arguments of a call that are attributes. It reports false if the
// call does not log.
func logAttrs(c *ast.CallExpr) ([]ast.Expr, bool) {
	s, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil, false
	}
	if n, ok := wrappers[s.Sel.Name]; ok && len(c.Args) >= n {
		return c.Args[n:], true
	}
	n, ok := methods[s.Sel.Name]
	switch strings.ToLower(lastName(s.X)) {
	case "log", "logger", "slog", "base":
		return c.Args[min(n, len(c.Args)):], ok
	}
	return nil, false
}

// lastName returns the last name of an expression such as a.hub.Log or h.Log().
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return lastName(e.Fun)
	}
	return ""
}

// keysOf returns the keys of attributes as a *slog.Logger takes them.
func keysOf(attrs []ast.Expr) (keys []string) {
	for i := 0; i < len(attrs); i++ {
		switch a := attrs[i].(type) {
		case *ast.BasicLit:
			key, _ := strconv.Unquote(a.Value)
			keys = append(keys, key)
			i++ // its value
		case *ast.CallExpr:
			switch s, ok := a.Fun.(*ast.SelectorExpr); {
			case ok && isIdent(s.X, "slog") && len(a.Args) > 0:
				keys = append(keys, keysOf(a.Args[:1])...)
			case ok && isIdent(s.X, "stacktrace"):
				keys = append(keys, "stack")
			case lastName(a.Fun) != "attrs": // the keys of a function with this name are found in it
				keys = append(keys, "")
			}
		default:
			keys = append(keys, "")
		}
	}
	return keys
}

func isIdent(e ast.Expr, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

// mentions reports whether a function has a variable or a parameter of a name.
func mentions(f *ast.FuncDecl, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		i, ok := n.(*ast.Ident)
		found = found || ok && i.Name == name
		return !found
	})
	return found
}

// TestParseLogCalls checks that parseLogCalls finds each form of an attribute.
func TestParseLogCalls(t *testing.T) {
	for text, want := range map[string][]string{
		`s.log.Info("m", "a", 1, "b", f("c"))`:                                           {"a", "b"},
		`h.inside.Log().Warn("m", "a", 1)`:                                               {"a"},
		`slog.Error("m", slog.Int("a", 1), stacktrace.Attr())`:                           {"a", "stack"},
		`n.log.Log(ctx, level, "m", "a", 1)`:                                             {"a"},
		`n.note(slog.LevelWarn, "m", "a", 1)`:                                            {"a"},
		`attrs := []any{"a", 1}; attrs = append(attrs, "b", 2); log.Info("m", attrs...)`: {"a", "b"},
		`log.Info("m", key, 1)`:                                                          {"", ""},
		`t.Error("m", "a"); http.Error(w, "m", 400); status.Error(code, "m")`:            nil,
	} {
		calls, err := parseLogCalls("a.go", "package p\nfunc f() {\n"+text+"\n}\n")
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, c := range calls {
			keys = append(keys, c.keys...)
		}
		if !slices.Equal(keys, want) {
			t.Errorf("the keys of %s are %q, want %q", text, keys, want)
		}
	}
}
