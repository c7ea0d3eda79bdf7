package lua

import (
	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

// newGroup implements nano.group(name).
func (v *vm) newGroup(l *glua.LState) int {
	l.Push(v.value(nano.NewGroup(l.OptString(1, "")), v.types.group))
	return 1
}

func checkGroup(l *glua.LState) *nano.Group { return as[*nano.Group](l, 1, "group") }

// checkMember returns argument 2, a session that may have ended.
func checkMember(l *glua.LState) *session.Session { return as[*sessionValue](l, 2, "session").s }

func (v *vm) groupMethods() map[string]glua.LGFunction {
	return map[string]glua.LGFunction{
		"name": func(l *glua.LState) int {
			l.Push(glua.LString(checkGroup(l).Name()))
			return 1
		},
		"count": func(l *glua.LState) int {
			l.Push(glua.LNumber(checkGroup(l).Count()))
			return 1
		},
		"add": func(l *glua.LState) int {
			g, s := checkGroup(l), checkMember(l)
			if s == nil {
				return v.result(l, session.ErrBrokenPipe)
			}
			return v.result(l, g.Add(s))
		},
		"leave": func(l *glua.LState) int {
			g, s := checkGroup(l), checkMember(l)
			if s == nil {
				return v.result(l, nil) // a closed session is not a member
			}
			return v.result(l, g.Leave(s))
		},
		"leave_all": func(l *glua.LState) int { return v.result(l, checkGroup(l).LeaveAll()) },
		"close":     func(l *glua.LState) int { return v.result(l, checkGroup(l).Close()) },
		"contains": func(l *glua.LState) int {
			l.Push(glua.LBool(checkGroup(l).Contains(checkID(l, 2))))
			return 1
		},
		"members": func(l *glua.LState) int {
			t := l.NewTable()
			for _, uid := range checkGroup(l).Members() {
				t.Append(id(uid))
			}
			l.Push(t)
			return 1
		},
		"member": func(l *glua.LState) int {
			s, err := checkGroup(l).Member(checkID(l, 2))
			if err != nil {
				return 0
			}
			l.Push(v.session(s))
			return 1
		},
		"find": func(l *glua.LState) int {
			s, err := checkGroup(l).FindMember(v.filter(l, l.CheckFunction(2)))
			if err != nil {
				return 0
			}
			l.Push(v.session(s))
			return 1
		},
		"broadcast": func(l *glua.LState) int {
			return v.result(l, checkGroup(l).Broadcast(checkRoute(l, 2), v.checkPayload(l, 3)))
		},
		"multicast": func(l *glua.LState) int {
			g, route, data := checkGroup(l), checkRoute(l, 2), v.checkPayload(l, 3)
			return v.result(l, g.Multicast(route, data, v.filter(l, l.CheckFunction(4))))
		},
	}
}

// filter returns a function of the script that picks sessions. An error in it ends the call.
func (v *vm) filter(l *glua.LState, f *glua.LFunction) nano.SessionFilter {
	return func(s *session.Session) bool {
		l.Push(f)
		l.Push(v.session(s))
		l.Call(1, 1)
		picked := glua.LVAsBool(l.Get(-1))
		l.Pop(1)
		return picked
	}
}
