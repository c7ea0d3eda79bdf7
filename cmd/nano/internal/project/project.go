// Package project writes new programs that use nano, from embedded templates.
package project

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// Library is the path of the module that a project requires.
const Library = "github.com/lonng/nano"

// Templates are the names of the templates, the default one first.
var Templates = []string{"chat", "rooms", "cluster"}

//go:embed all:templates
var templates embed.FS

// Config describes the project to write.
type Config struct {
	Dir      string // a directory that does not exist or is empty; its last element names the program
	Module   string // the path of the module; empty for the name of the program
	Template string // one of Templates
	Version  string // the version of the library, such as v1.2.3; without one, Replace is needed
	Replace  string // the directory of a clone of the library to build with, or empty
}

// data holds the variables of the templates.
type data struct {
	Name, Module string
	Replace      bool
}

// nameForm matches names of programs. A name must be a valid element of an import path
// and a usable program name.
var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// reserved lists the paths without a slash that the go command does not build as a module:
// packages of the standard library and names of its own.
var reserved = strings.Fields("bufio bytes cmd cmp context crypto embed encoding errors expvar flag fmt go hash html image io iter log maps " +
	"math mime net os path plugin reflect regexp runtime slices sort std strconv strings structs sync syscall testing time unicode unique " +
	"unsafe weak")

// checkModule returns an error if the go command cannot build a module with the path.
func checkModule(name string) error {
	if err := module.CheckImportPath(name); err != nil {
		return fmt.Errorf("%w: name another one with --module PATH", err)
	}
	if slices.Contains(reserved, name) {
		return fmt.Errorf("the path %q belongs to Go: name another one with --module PATH", name)
	}
	return nil
}

// Write writes the project and returns the sorted names of its files. It needs no
// network. If it fails, it removes the files it has written.
func Write(c Config) (files []string, err error) {
	d := data{Name: filepath.Base(filepath.Clean(c.Dir)), Module: c.Module, Replace: c.Replace != ""}
	if !nameForm.MatchString(d.Name) {
		return nil, fmt.Errorf("the name %q has to consist of a-z, 0-9 and - . _ between them", d.Name)
	}
	if d.Module == "" {
		d.Module = d.Name
	}
	if err := checkModule(d.Module); err != nil {
		return nil, err
	}
	if !slices.Contains(Templates, c.Template) {
		return nil, fmt.Errorf("there is no template %q; there are %s", c.Template, strings.Join(Templates, ", "))
	}
	contents, err := c.module(d.Module)
	if err != nil {
		return nil, err
	}
	dirs := []string{"common", c.Template}
	if c.Template == "cluster" {
		dirs = []string{"common", "chat", "cluster"} // the same chat for several nodes
	}
	for _, dir := range dirs {
		if err := render(contents, dir, d); err != nil {
			return nil, err
		}
	}
	existed, err := claim(c.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			remove(c.Dir, files, existed)
		}
	}()
	for name := range contents {
		files = append(files, name)
	}
	slices.Sort(files)
	for _, name := range files {
		file := filepath.Join(c.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return files, err
		}
		if err := os.WriteFile(file, contents[name], 0o644); err != nil {
			return files, err
		}
	}
	return files, nil
}

// claim creates the directory, and reports whether it already existed.
func claim(dir string) (existed bool, err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, os.MkdirAll(dir, 0o755)
	case err != nil:
		return true, err
	case len(entries) > 0:
		return true, fmt.Errorf("%s is not empty: it holds %s", dir, entries[0].Name())
	}
	return true, nil
}

// remove removes the files of an incomplete project.
func remove(dir string, files []string, keepDir bool) {
	if !keepDir {
		_ = os.RemoveAll(dir)
		return
	}
	for _, name := range files {
		_ = os.Remove(filepath.Join(dir, filepath.FromSlash(name)))
	}
}

// render adds the files of a template to contents, without their suffix.
func render(contents map[string][]byte, dir string, d data) error {
	root := path.Join("templates", dir)
	return fs.WalkDir(templates, root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := templates.ReadFile(name)
		if err != nil {
			return err
		}
		t, err := template.New(name).Delims("[[", "]]").Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, d); err != nil {
			return err
		}
		name = strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl")
		contents[strings.Replace(name, "dot.", ".", 1)] = b.Bytes()
		return nil
	})
}

// module returns go.mod, and go.sum if the checksums are known.
func (c Config) module(name string) (map[string][]byte, error) {
	f := &modfile.File{}
	if err := f.AddModuleStmt(name); err != nil {
		return nil, err
	}
	contents := map[string][]byte{}
	switch {
	case c.Replace != "":
		sums, err := c.require(f)
		if err != nil {
			return nil, err
		}
		contents["go.sum"] = sums
	case c.Version != "":
		if err := errors.Join(f.AddGoStmt("1.26"), f.AddRequire(Library, c.Version)); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("this command was built from source and has no version: name a clone of the library with --replace DIR")
	}
	text, err := f.Format()
	contents["go.mod"] = text
	return contents, err
}

// require makes f use the clone in c.Replace with all requirements of the clone. It
// returns the checksums.
func (c Config) require(f *modfile.File) (sums []byte, err error) {
	text, err := os.ReadFile(filepath.Join(c.Replace, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("--replace: %w", err)
	}
	library, err := modfile.Parse(filepath.Join(c.Replace, "go.mod"), text, nil)
	if err != nil {
		return nil, err
	}
	if library.Module == nil || library.Module.Mod.Path != Library {
		return nil, fmt.Errorf("--replace: %s is not a clone of %s", c.Replace, Library)
	}
	dir, err := filepath.Abs(c.Replace)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.AddGoStmt(library.Go.Version), f.AddRequire(Library, "v0.0.0"), f.AddReplace(Library, "", filepath.ToSlash(dir), "")); err != nil {
		return nil, err
	}
	for _, r := range library.Require {
		f.AddNewRequire(r.Mod.Path, r.Mod.Version, true)
	}
	f.Cleanup()
	return os.ReadFile(filepath.Join(c.Replace, "go.sum"))
}
