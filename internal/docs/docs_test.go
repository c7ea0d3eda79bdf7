// Package docs checks the documents of the project. Every Go sample compiles, every link
// has a target, and the English and Chinese pages match.
//
// A sample is a fenced block of Go in a Markdown file of the module. A sample with a
// package clause is a whole program. All other samples between two headings of level 2
// form one package. Each is a list of declarations, or a list of statements, which
// becomes the body of a function. They need not import the packages in the table below.
// Code that a sample needs and the page does not show stands in a comment before it:
//
//	<!-- go
//
//	var srv *nano.Server
//
//	-->
package docs

import (
	"encoding/xml"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/scanner"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// module is the import path of the module.
const module = "github.com/lonng/nano"

// imports are the packages that samples may use without importing them.
var imports = map[string]string{
	"bot":         module + "/bot",
	"client":      module + "/client",
	"cluster":     module + "/cluster",
	"clusterpb":   module + "/cluster/clusterpb",
	"component":   module + "/component",
	"console":     module + "/console",
	"context":     "context",
	"credentials": "google.golang.org/grpc/credentials",
	"errors":      "errors",
	"fmt":         "fmt",
	"grpc":        "google.golang.org/grpc",
	"http":        "net/http",
	"io":          "io",
	"json":        module + "/serialize/json",
	"log":         "log",
	"lua":         module + "/lua",
	"math":        "math",
	"mock":        module + "/mock",
	"nano":        module,
	"nanotest":    module + "/nanotest",
	"net":         "net",
	"os":          "os",
	"pipeline":    module + "/pipeline",
	"protobuf":    module + "/serialize/protobuf",
	"room":        module + "/room",
	"scheduler":   module + "/scheduler",
	"session":     module + "/session",
	"slog":        "log/slog",
	"state":       module + "/state",
	"strings":     "strings",
	"synctest":    "testing/synctest",
	"testing":     "testing",
	"time":        "time",
	"tls":         "crypto/tls",
	"trace":       module + "/trace",
	"x509":        "crypto/x509",
}

// page is one Markdown file.
type page struct {
	path     string // relative to the module's root, with slashes
	file     string // absolute
	samples  []sample
	headings []heading
	links    []link
}

// sample is one block of Go.
type sample struct {
	section int // number of level 2 headings before it
	line    int // the line of its first line of code
	code    string
	hidden  bool // inside a comment
}

type heading struct {
	level int
	text  string
}

type link struct {
	line   int
	target string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// pages reads every Markdown file of the module.
func pages(t *testing.T) []*page {
	t.Helper()
	dir := root(t)
	var list []*page
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); file != dir && (strings.HasPrefix(n, ".") || n == "node_modules" || n == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".md" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		p := &page{path: filepath.ToSlash(name), file: file}
		p.read(string(text))
		list = append(list, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

var (
	anyHeading = regexp.MustCompile(`^(#{1,6}) +(.+?) *#*$`)
	inline     = regexp.MustCompile("`[^`]*`")
	linkTo     = regexp.MustCompile(`\]\(<?([^)>\s]+)>?(?:\s+"[^"]*")?\)|(?:src|href|srcset)="([^"]+)"|^\[[^\]]+\]:\s+(\S+)`)
)

// read parses a page.
func (p *page) read(text string) {
	section := 0
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		bare := strings.TrimLeft(line, " ")
		fence, language, _ := cutFence(bare)
		hidden := strings.TrimSpace(line) == "<!-- go"
		if fence != "" || hidden {
			end := func(l string) bool { return strings.TrimRight(l, " ") == fence }
			if hidden {
				end = func(l string) bool { return strings.TrimSpace(l) == "-->" }
			}
			indent := line[:len(line)-len(bare)]
			start := i + 1
			var code []string
			for i++; i < len(lines) && !end(strings.TrimPrefix(lines[i], indent)); i++ {
				code = append(code, strings.TrimPrefix(lines[i], indent))
			}
			if hidden || language == "go" {
				p.samples = append(p.samples, sample{section, start + 1, strings.Join(code, "\n") + "\n", hidden})
			}
			continue
		}
		if m := anyHeading.FindStringSubmatch(line); m != nil {
			p.headings = append(p.headings, heading{len(m[1]), m[2]})
			if len(m[1]) == 2 {
				section++
			}
		}
		for _, m := range linkTo.FindAllStringSubmatch(inline.ReplaceAllString(line, "``"), -1) {
			p.links = append(p.links, link{i + 1, m[1] + m[2] + m[3]})
		}
	}
}

// cutFence parses the opening line of a fence, such as ```. It returns the fence and the
// language.
func cutFence(line string) (fence, language string, ok bool) {
	n := len(line) - len(strings.TrimLeft(line, "`"))
	if n < 3 {
		return "", "", false
	}
	return line[:n], strings.TrimSpace(line[n:]), true
}

func TestSamplesCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: runs go vet")
	}
	dir := samplesModule(t)
	packages := map[string]bool{}
	whole := 0
	for _, p := range pages(t) {
		name := strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(strings.TrimSuffix(p.path, ".md"))
		for _, s := range p.samples {
			if !s.hidden {
				checkFormat(t, p, s)
			}
			text, isFile, err := source(p, s)
			if err != nil {
				t.Errorf("%s:%d: %v", p.path, s.line, err)
				continue
			}
			folder := fmt.Sprintf("%s_%d", name, s.section)
			if isFile {
				whole++
				folder = fmt.Sprintf("%s_line_%d", name, s.line)
			}
			packages[folder] = true
			folder = filepath.Join(dir, folder)
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("line_%d.go", s.line)), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if whole == 0 || len(packages) < 10 {
		t.Fatalf("found %d samples that are whole files in %d packages, want some of each", whole, len(packages))
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "./...")
	vet.Dir = dir
	vet.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet of the samples: %v\n%s", err, out)
	}
}

// samplesModule makes a module that requires this one and all its requirements, so the go
// command looks up no other versions.
func samplesModule(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from := root(t)
	mod, err := os.ReadFile(filepath.Join(from, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(from, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// A sample may use package lua, which is a module of its own.
	scripts, err := os.ReadFile(filepath.Join(from, "lua", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	sum = append(sum, scripts...)
	_, rest, found := strings.Cut(string(mod), "module "+module+"\n")
	if !found {
		t.Fatalf("go.mod does not begin with module %s", module)
	}
	text := fmt.Sprintf("module samples\n%s\nrequire %s v0.0.0\nrequire %[2]s/lua v0.0.0\n\nreplace %[2]s => %[3]q\nreplace %[2]s/lua => %[4]q\n",
		rest, module, from, filepath.Join(from, "lua"))
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkFormat reports a sample that gofmt would change.
func checkFormat(t *testing.T, p *page, s sample) {
	t.Helper()
	head, body, err := cutImports(s.code)
	if err != nil {
		return // source reports the error
	}
	for _, part := range []string{head, body} {
		want, err := format.Source([]byte(part))
		if err != nil {
			return
		}
		if strings.TrimRight(string(want), "\n") != strings.TrimRight(part, "\n") {
			t.Errorf("%s:%d: gofmt would change this sample to\n%s", p.path, s.line, want)
		}
	}
}

// source returns a sample as a Go file. Line directives make the compiler report
// positions in the page.
func source(p *page, s sample) (text []byte, isFile bool, err error) {
	at := func(line int) string { return fmt.Sprintf("//line %s:%d\n", filepath.ToSlash(p.file), line) }
	if f, err := parser.ParseFile(token.NewFileSet(), "", s.code, parser.PackageClauseOnly); err == nil && f.Name != nil {
		return []byte(at(s.line) + s.code), true, nil
	}
	head, body, err := cutImports(s.code)
	if err != nil {
		return nil, false, err
	}
	line := s.line + strings.Count(head, "\n")
	open, end := "", ""
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", "package p\n"+body, 0)
	if err != nil {
		open, end = "func _() {\n", "}\n"
		if f, err = parser.ParseFile(fset, "", "package p\n"+open+body+end, 0); err != nil {
			return nil, false, fmt.Errorf("the sample is neither a file, nor declarations, nor statements: %w", err)
		}
	}
	var b strings.Builder
	b.WriteString("package sample\n\n")
	own := imported(head)
	for _, name := range used(f) {
		if !own[name] {
			fmt.Fprintf(&b, "import %q\n", imports[name])
		}
	}
	b.WriteString(at(s.line) + head + open + at(line) + body + end)
	return []byte(b.String()), false, nil
}

// cutImports splits a sample after its import declarations.
func cutImports(code string) (head, body string, err error) {
	if !strings.HasPrefix(code, "import ") {
		return "", code, nil
	}
	const clause = "package p\n"
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", clause+code, parser.ImportsOnly)
	if err != nil {
		return "", "", err
	}
	end := fset.Position(f.Decls[len(f.Decls)-1].End()).Offset - len(clause)
	return code[:end] + "\n", strings.TrimPrefix(code[end:], "\n"), nil
}

// imported returns the package names that the import declarations declare.
func imported(head string) map[string]bool {
	names := map[string]bool{}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+head, parser.ImportsOnly)
	if err != nil {
		return names
	}
	for _, i := range f.Imports {
		if i.Name != nil {
			names[i.Name.Name] = true
		} else {
			names[path.Base(strings.Trim(i.Path.Value, `"`))] = true
		}
	}
	return names
}

// used returns the names of the imports that a file uses, in order.
func used(f *ast.File) []string {
	names := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && imports[x.Name] != "" {
				names[x.Name] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(names))
}

func TestLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.file] = p.anchors()
	}
	count := 0
	for _, p := range all {
		for _, l := range p.links {
			u, err := url.Parse(l.target)
			if err != nil {
				t.Errorf("%s:%d: link %q: %v", p.path, l.line, l.target, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			count++
			file := p.file
			if u.Path != "" {
				file = filepath.Join(filepath.Dir(p.file), filepath.FromSlash(u.Path))
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s:%d: link %q leads nowhere: %v", p.path, l.line, l.target, err)
				continue
			}
			if a := anchors[file]; u.Fragment != "" && a != nil && !a[u.Fragment] {
				t.Errorf("%s:%d: link %q: the page has no such heading", p.path, l.line, l.target)
			}
			if filepath.Ext(file) == ".svg" {
				checkXML(t, file)
			}
		}
	}
	if count == 0 {
		t.Error("found no link in the documents")
	}
}

// anchors returns the anchors of a page's headings, as GitHub generates them.
func (p *page) anchors() map[string]bool {
	names := map[string]bool{}
	for _, h := range p.headings {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, h.text)
		name := slug
		for n := 1; names[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		names[name] = true
	}
	return names
}

// checkXML reports an SVG picture that is not well-formed.
func checkXML(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	d := xml.NewDecoder(f)
	for {
		if _, err = d.Token(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("%s: %v", file, err)
	}
}

// twin returns the path of the page in the other language. It reports false if there is
// none.
func twin(of string) (string, bool) {
	switch {
	case of == "README.md":
		return "README.zh-CN.md", true
	case of == "README.zh-CN.md":
		return "README.md", true
	case !strings.HasPrefix(of, "docs/"):
		return "", false
	}
	name := strings.TrimSuffix(of, ".md")
	if english, ok := strings.CutSuffix(name, "_zh_CN"); ok {
		return english + ".md", true
	}
	return name + "_zh_CN.md", true
}

func TestTwins(t *testing.T) {
	byPath := map[string]*page{}
	for _, p := range pages(t) {
		byPath[p.path] = p
	}
	pairs := 0
	for _, one := range slices.Sorted(maps.Keys(byPath)) {
		name, ok := twin(one)
		if !ok {
			continue
		}
		p, other := byPath[one], byPath[name]
		if other == nil {
			t.Errorf("%s has no twin %s", one, name)
			continue
		}
		if one < name {
			pairs++
			compare(t, p, other)
		}
	}
	if pairs == 0 {
		t.Error("found no pages in two languages")
	}
}

// compare reports differences between two twins. Their headings must have the same levels
// in the same order, and their samples may differ only in comments.
func compare(t *testing.T, a, b *page) {
	t.Helper()
	levels := func(p *page) (list []int) {
		for _, h := range p.headings {
			list = append(list, h.level)
		}
		return list
	}
	if la, lb := levels(a), levels(b); !slices.Equal(la, lb) {
		t.Errorf("headings of %s have the levels %v, those of %s %v", a.path, la, b.path, lb)
	}
	if len(a.samples) != len(b.samples) {
		t.Errorf("%s has %d samples, %s has %d", a.path, len(a.samples), b.path, len(b.samples))
		return
	}
	for i, s := range a.samples {
		other := b.samples[i]
		if !slices.Equal(tokens(s.code), tokens(other.code)) {
			t.Errorf("%s:%d and %s:%d differ in more than comments", a.path, s.line, b.path, other.line)
		}
	}
}

// tokens returns code without comments and white space.
func tokens(code string) (list []string) {
	fset := token.NewFileSet()
	var s scanner.Scanner
	s.Init(fset.AddFile("", fset.Base(), len(code)), []byte(code), nil, 0)
	for {
		_, tok, text := s.Scan()
		switch {
		case tok == token.EOF:
			return list
		case tok == token.SEMICOLON: // most are inserted at line ends
		case text != "":
			list = append(list, text)
		default:
			list = append(list, tok.String())
		}
	}
}
