// Package lua runs components that are written in Lua, beside those in Go. A file that changes is
// loaded while the server runs.
//
//	components := &component.Components{}
//	components.Register(lua.New("scripts/quiz.lua"))
//	nano.Listen(":3250", nano.WithComponents(components))
//
// The file returns a table, its module. Each function in it is a handler: clients call the
// function join of quiz.lua by the route "quiz.join".
//
//	local M = {}
//
//	function M.join(session, request)
//	    return {hello = request.name}
//	end
//
//	return M
//
// The page docs/lua.md describes the functions that scripts use. The language is Lua 5.1, as
// github.com/yuin/gopher-lua implements it.
//
// # Handlers
//
// A handler gets the session and the request, and returns the reply. A second result is an error:
// one of nano.error(code, text) reaches the client as it is. Any other error, raised or returned,
// is answered with NANO-500, and the log has its text with file and line. A handler that returns
// nothing answers with null, unless it has called session:respond or session:defer.
//
// Payloads are JSON; see [WithRawPayloads]. Numbers of Lua are float64. So 64-bit ids are strings
// in Lua, as are JSON integers that a float64 does not hold exactly.
//
// Functions that are named on_start, on_reload and on_stop, and those whose name begins with "_",
// are not handlers. The functions of the table nodes in the module serve calls of other nodes.
//
// # Reload
//
// The server reads a changed file again, compiles it, and then replaces the running version in one
// task of the logic goroutine, between two messages. The function on_reload of the new version gets
// the field state of the old module. After an error the old version continues to run.
//
// # Limits
//
// A call of the script is bounded in time and in steps; see [WithTimeout] and [WithSteps]. An
// endless loop ends with an error for its message, and affects nothing else. Functions that make or
// search text take at most 1 MiB. Scripts cannot load bytecode or text as code, and have no debug,
// io or os. They require modules of their own folder only.
//
// Memory is not bounded: a script that fills a table takes the memory of the process. Scripts are
// trusted as far as that goes.
//
// # Concurrency
//
// All functions of a script run on the logic goroutine. [Script.Reload] and [Script.ScriptStats]
// may be called from any other goroutine.
package lua
