package lua_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/lua"
	"github.com/lonng/nano/serialize/json"
)

const hello = `
local M = {}

function M.join(session, request)
  return {text = "hello " .. request.name}
end

return M
`

// A script is edited while the server runs.
func Example() {
	dir, err := os.MkdirTemp("", "scripts")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.lua")
	if err := os.WriteFile(path, []byte(hello), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	script := lua.New(path, lua.WithPoll(0))
	components := &component.Components{}
	components.Register(script)
	server := nano.New(nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()))
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("version", server.Stats().Scripts[0].Version, "of", script.DefaultName())

	if err := os.WriteFile(path, []byte(hello+"-- changed\n"), 0o600); err != nil {
		fmt.Println(err)
	}
	if err := script.Reload(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println("version", server.Stats().Scripts[0].Version)
	if err := server.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// version 1 of hello
	// version 2
}
