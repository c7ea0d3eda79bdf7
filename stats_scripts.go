package nano

import "time"

// ScriptStats holds the figures of a script of package github.com/lonng/nano/lua. Counters only grow.
type ScriptStats struct {
	Name          string    // the service that the script serves
	File          string    // path of the script
	Version       int       // 1 for the version that the server started with, and one more for each reload
	Hash          string    // the first 8 hexadecimal digits of the SHA-256 hash of the source
	Loaded        time.Time // when this version was loaded
	Reloads       int64     // new versions since the start
	ReloadsFailed int64     // new versions that had an error; the old version stayed
	Calls         int64     // calls of the script: messages, timers and callbacks
	Errors        int64     // calls that ended with an error of the script
	Stopped       int64     // calls counted in Errors that reached a limit of time or steps
}

// ScriptReporter is implemented by a component that adds a script to [Server.Stats]. ScriptStats may be called concurrently.
type ScriptReporter interface {
	ScriptStats() ScriptStats
}

// scriptStats returns the figures of the scripts, in the order of registration.
func (s *Server) scriptStats() []ScriptStats {
	var list []ScriptStats
	for _, c := range s.opts.components {
		if r, ok := c.Comp.(ScriptReporter); ok && s.ready.Load() {
			list = append(list, r.ScriptStats())
		}
	}
	return list
}
