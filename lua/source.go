package lua

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// file is one file of a script, as it was read.
type file struct {
	name  string // relative to the folder of the script, with slashes
	time  time.Time
	size  int64
	data  []byte
	proto *glua.FunctionProto
	err   error // the file is missing, or has an error
}

// source is the files of one version of a script. Its methods may be called concurrently.
type source struct {
	dir  string
	main string

	mu    sync.Mutex // guards files
	files map[string]*file
}

// literalRequire matches the calls of require that name their module.
var literalRequire = regexp.MustCompile(`\brequire\s*\(?\s*["']([\w./\\-]+)["']`)

// readSource reads and compiles a script and the modules that it requires by name. The error is
// the first one of the compiler; a module that is missing is an error later, where it is required.
func readSource(path string) (*source, error) {
	s := &source{dir: filepath.Dir(path), main: filepath.Base(path), files: map[string]*file{}}
	main := s.get(s.main)
	if main.err != nil {
		return s, main.err
	}
	for waiting := []*file{main}; len(waiting) > 0; waiting = waiting[1:] {
		for _, m := range literalRequire.FindAllSubmatch(waiting[0].data, -1) {
			name, err := moduleFile(string(m[1]))
			if err != nil || s.has(name) {
				continue
			}
			f := s.get(name)
			switch {
			case f.err == nil:
				waiting = append(waiting, f)
			case f.data != nil:
				return s, f.err
			}
		}
	}
	return s, nil
}

var moduleName = regexp.MustCompile(`^[\w-]+(\.[\w-]+)*$`)

// moduleFile returns the file of a module such as "rules.score".
func moduleFile(module string) (string, error) {
	if len(module) > 200 || !moduleName.MatchString(module) {
		return "", fmt.Errorf("module %q: want names of letters, digits, _ and - with one dot between them", module)
	}
	return strings.ReplaceAll(module, ".", "/") + ".lua", nil
}

func (s *source) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name] != nil
}

// get returns a file, which it reads and compiles the first time.
func (s *source) get(name string) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f == nil {
		f = s.read(name)
		s.files[name] = f
	}
	return f
}

// read reads a file. A symbolic link that leaves the folder is an error.
func (s *source) read(name string) *file {
	f := &file{name: name}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		f.err = err
		return f
	}
	defer root.Close()
	info, err := statFile(root, name)
	if err != nil {
		f.err = err
		return f
	}
	f.time, f.size = info.ModTime(), info.Size()
	r, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		f.err = err
		return f
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	switch {
	case err != nil:
		f.err = err
		return f
	case len(data) > maxSource:
		err = fmt.Errorf("%s: the file has more than %d bytes", name, maxSource)
	default:
		f.proto, err = compile(name, data)
	}
	f.data, f.err = data, err
	return f
}

// statFile returns the state of a regular file.
func statFile(root *os.Root, name string) (fs.FileInfo, error) {
	info, err := root.Stat(filepath.FromSlash(name))
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	return info, err
}

// changed reports whether a file has changed or appeared since it was read. A file that is gone
// is not a change: many editors replace a file in two steps.
func (s *source) changed() bool {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return false // the folder is being replaced
	}
	defer root.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		info, err := statFile(root, f.name)
		if err == nil && (!info.ModTime().Equal(f.time) || info.Size() != f.size) {
			return true
		}
	}
	return false
}

// hash returns the first digits of a hash of all files.
func (s *source) hash() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(s.files[name].data))
		h.Write(s.files[name].data)
	}
	return hex.EncodeToString(h.Sum(nil))[:8]
}
