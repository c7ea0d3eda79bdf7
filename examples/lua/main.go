// Lua is a quiz whose rules and questions are written in Lua. They can be edited while people
// play: a saved file counts at once.
//
//	go run ./examples/lua -addr :3250 -script examples/lua/scripts/quiz.lua
//
// Then open the page that it prints, and edit the script.
package main

import (
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/lua"
	"github.com/lonng/nano/serialize/json"
)

//go:embed web
var web embed.FS

//go:embed scripts
var scripts embed.FS

// source is the folder of the scripts in a clone of the repository.
const source = "examples/lua/scripts"

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	script := flag.String("script", "", "`file` of the quiz; the default is the one in the repository, or else a copy")
	flag.Parse()
	if err := run(*addr, *script); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr, script string) error {
	if script == "" {
		var err error
		if script, err = find(); err != nil {
			return err
		}
	}
	site.Handle(http.DefaultServeMux, web)
	fmt.Println("The quiz is at", site.URL(addr))
	fmt.Println("Edit", script, "or questions.lua beside it while you play")
	return nano.Listen(addr, append(options(script), nano.WithWebSocket("/nano"))...)
}

// options returns the options of a server with a script.
func options(script string, opts ...lua.Option) []nano.Option {
	components := &component.Components{}
	components.Register(lua.New(script, opts...))
	return []nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}
}

// find returns the script of the repository. Elsewhere it writes a copy to a temporary folder.
func find() (string, error) {
	file := filepath.Join(filepath.FromSlash(source), "quiz.lua")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	dir, err := os.MkdirTemp("", "quiz")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "quiz.lua"), copyScripts(dir)
}

// copyScripts writes the embedded scripts to a folder.
func copyScripts(dir string) error {
	files, err := fs.Sub(scripts, "scripts")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, files)
}
