// Package compat checks that the exported names of published versions still exist.
// testdata/api.txt lists them. program_test.go is generated from that list and uses every
// name with its listed type. If a name is missing or changed, the tests of this package
// do not compile. Each interface is implemented with only the listed methods, because
// programs implement them so.
package compat

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	list    = "testdata/api.txt"
	program = "program_test.go"
)

var update = flag.Bool("update", false, "write "+program+" anew; delete it first where it does not compile")

func TestProgramUsesTheList(t *testing.T) {
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(string(data))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(program, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what %s makes, want it written anew by go test ./internal/compat -update", program, list)
	}
}

func TestUse(t *testing.T) {
	tests := map[string]string{
		"a/b: const C":                                `const _ = b.C`,
		"a/b: var V error":                            `var _ *error = &b.V`,
		"a/b: var V *":                                `var _ = &b.V`,
		"a/b: type T":                                 `type _ = b.T`,
		"a/b: type T = func(*a/c.D) bool":             `var _ = func(v b.T) func(*c.D) bool { return v }`,
		"a/b: field T.F []net/http.Header":            `var _ = func(v *b.T) *[]http.Header { return &v.F }`,
		"a/b: field T.F *":                            `var _ = func(v *b.T) any { return &v.F }`,
		"a/b: func F(int, map[string]any) (X, error)": `var _ func(int, map[string]any) (X, error) = b.F`,
		"a/b: func F() a/b.T":                         `var _ func() b.T = b.F`,
		"a/b: func F(int, ...a/b.T)":                  `var _ = func(a0 int, a1 ...b.T) { b.F(a0, a1...) }`,
		"a/b: func F(func(int, string) bool)":         `var _ = func(a0 func(int, string) bool) { b.F(a0) }`,
		"a/b: func F(*":                               `var _ = b.F`,
		"a/b: method func T.M(int) error":             `var _ func(*b.T, int) error = (*b.T).M`,
		"a/b: method func T.M(string)":                `var _ = func(v *b.T, a0 string) { v.M(a0) }`,
		"a/b: interface method I.M(...int) a/b.T":     `var _ func(b.I, ...int) b.T = b.I.M`,
		"a/b: interface method I.M()":                 `var _ func(b.I) = b.I.M`,
	}
	for line, want := range tests {
		got, err := newImports().use(line)
		if err != nil || got != want {
			t.Errorf("use(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{"", "a/b", "a/b: label L", "a/b: func F", "a/b: func F(int", "a/b: func F int", "a/b: method func F()", "a/b: var V"} {
		if got, err := newImports().use(line); err == nil {
			t.Errorf("use(%q) = %q, want an error", line, got)
		}
	}
}

// generate returns the source of the program that uses the list.
func generate(list string) ([]byte, error) {
	imports := newImports()
	interfaces := map[string][]string{} // the listed methods of each interface
	var body strings.Builder
	for i, line := range strings.Split(list, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		code, err := imports.use(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		body.WriteString(code + "\n")
		if pkg, method, ok := strings.Cut(line, ": interface method "); ok {
			name, signature, _ := strings.Cut(method, ".")
			name = imports.rewrite(pkg + "." + name)
			interfaces[name] = append(interfaces[name], imports.rewrite(signature))
		}
	}
	for i, name := range slices.Sorted(maps.Keys(interfaces)) {
		fmt.Fprintf(&body, "\ntype i%d struct{}\n\nvar _ %s = i%[1]d{}\n\n", i, name)
		for _, signature := range interfaces[name] {
			fmt.Fprintf(&body, "func (i%d) %s { panic(0) }\n", i, signature)
		}
	}

	var b bytes.Buffer
	b.WriteString("// Code generated from testdata/api.txt by go test -update. DO NOT EDIT.\n\npackage compat\n\nimport (\n")
	for _, p := range slices.Sorted(maps.Keys(imports.names)) {
		fmt.Fprintf(&b, "%s %q\n", imports.names[p], p)
	}
	b.WriteString(")\n\n" + body.String())
	return format.Source(b.Bytes())
}

// imports assigns a name to every imported package.
type imports struct {
	names map[string]string // by path
	taken map[string]bool
}

func newImports() *imports { return &imports{map[string]string{}, map[string]bool{}} }

func (im *imports) name(pkg string) string {
	if name, ok := im.names[pkg]; ok {
		return name
	}
	name := path.Base(pkg)
	for im.taken[name] {
		name += "_"
	}
	im.names[pkg], im.taken[name] = name, true
	return name
}

// qualified matches a type with its package path.
var qualified = regexp.MustCompile(`((?:\w[\w.-]*/)*\w[\w-]*)\.([A-Z]\w*)`)

// rewrite returns a type or signature of the list as Go source.
func (im *imports) rewrite(s string) string {
	return qualified.ReplaceAllStringFunc(s, func(s string) string {
		m := qualified.FindStringSubmatch(s)
		return im.name(m[1]) + "." + m[2]
	})
}

// object is the part of a line after the package: the kind, the name, and the signature
// or type.
var object = regexp.MustCompile(`^(const|var|type|field|func|method func|interface method) ([\w.]+)(?: = | |)(.*)$`)

// use returns a declaration that compiles if the object of the line exists with the
// listed type.
func (im *imports) use(line string) (string, error) {
	pkg, rest, _ := strings.Cut(line, ": ")
	m := object.FindStringSubmatch(rest)
	if m == nil {
		return "", fmt.Errorf("%q, want PACKAGE: KIND NAME TYPE", line)
	}
	kind, name, typ := m[1], m[2], im.rewrite(m[3])
	full := im.name(pkg) + "." + name
	owner, member, isMember := strings.Cut(full[len(im.name(pkg))+1:], ".")
	owner = im.name(pkg) + "." + owner
	if isMember != (kind == "field" || kind == "method func" || kind == "interface method") {
		return "", fmt.Errorf("%q, want the name of a %s", line, kind)
	}
	open := strings.HasSuffix(typ, "*")

	switch kind {
	case "const":
		return "const _ = " + full, nil
	case "type":
		if typ == "" {
			return "type _ = " + full, nil
		}
		return fmt.Sprintf("var _ = func(v %s) %s { return v }", full, typ), nil
	case "var":
		if typ == "" {
			return "", fmt.Errorf("%q, want a type", line)
		}
		if open {
			return "var _ = &" + full, nil
		}
		return fmt.Sprintf("var _ *%s = &%s", typ, full), nil
	case "field":
		if open {
			return fmt.Sprintf("var _ = func(v *%s) any { return &v.%s }", owner, member), nil
		}
		return fmt.Sprintf("var _ = func(v *%s) *%s { return &v.%s }", owner, typ, member), nil
	}

	if open {
		return "var _ = " + full, nil
	}
	params, results, err := split(typ)
	if err != nil {
		return "", fmt.Errorf("%q: %w", line, err)
	}
	switch {
	case kind == "interface method":
		return fmt.Sprintf("var _ func(%s)%s = %s", join(owner, params), results, full), nil
	case results != "" && kind == "method func":
		return fmt.Sprintf("var _ func(%s)%s = (*%s).%s", join("*"+owner, params), results, owner, member), nil
	case results != "":
		return fmt.Sprintf("var _ func(%s)%s = %s", join("", params), results, full), nil
	}
	// If the list has no results, the function is only called. It may have results.
	var named, args []string
	callee := full
	if kind == "method func" {
		named, callee = append(named, "v *"+owner), "v."+member
	}
	for i, p := range params {
		named = append(named, fmt.Sprintf("a%d %s", i, p))
		arg := fmt.Sprintf("a%d", i)
		if strings.HasPrefix(p, "...") {
			arg += "..."
		}
		args = append(args, arg)
	}
	return fmt.Sprintf("var _ = func(%s) { %s(%s) }", strings.Join(named, ", "), callee, strings.Join(args, ", ")), nil
}

func join(receiver string, params []string) string {
	if receiver != "" {
		params = append([]string{receiver}, params...)
	}
	return strings.Join(params, ", ")
}

// split returns the parameters of a signature, and its results with the space before
// them.
func split(signature string) (params []string, results string, err error) {
	if !strings.HasPrefix(signature, "(") {
		return nil, "", fmt.Errorf("signature %q, want parameters in parentheses", signature)
	}
	depth, start := 0, 1
	for i, c := range signature {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		end := depth == 0
		if end || depth == 1 && c == ',' {
			if p := strings.TrimSpace(signature[start:i]); p != "" {
				params = append(params, p)
			}
			start = i + 1
		}
		if end {
			return params, signature[i+1:], nil
		}
	}
	return nil, "", fmt.Errorf("signature %q, want the parentheses closed", signature)
}
