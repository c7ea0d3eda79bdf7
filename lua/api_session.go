package lua

import (
	"context"
	"reflect"
	"strconv"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano/session"
)

// sessionValue is a session as the script holds it. It drops its reference when the session has
// closed, because a Lua table keeps its keys after their values are removed.
type sessionValue struct {
	s       *session.Session // nil after the end
	id, uid glua.LValue      // values of id and uid after the session has ended
}

// session returns the value of a session. A session has one value until it has closed, so
// scripts may compare them and use them as keys.
func (v *vm) session(s *session.Session) *glua.LUserData {
	if u := v.sessions[s]; u != nil {
		return u
	}
	c := &sessionValue{s: s}
	u := v.value(c, v.types.session)
	v.sessions[s] = u
	s.OnClose(func(*session.Session, error) {
		forget := func() {
			c.id, c.uid, c.s = id(s.ID()), id(s.UID()), nil
			delete(v.sessions, s)
		}
		if v.queue(forget) != nil { // it runs after the callbacks of the script
			forget()
		}
	})
	return u
}

// queue queues a task. It returns an error if the server has ended.
func (v *vm) queue(task func()) error {
	if v.server == nil || !v.server.Scheduler().Invoke(task) {
		return errNotRunning
	}
	return nil
}

// open returns the session of argument 1. It raises an error if the session has ended.
func open(l *glua.LState) *session.Session {
	c := as[*sessionValue](l, 1, "session")
	if c.s == nil {
		l.RaiseError("%v", session.ErrBrokenPipe)
	}
	return c.s
}

func (v *vm) sessionMethods() map[string]glua.LGFunction {
	return map[string]glua.LGFunction{
		"id": func(l *glua.LState) int {
			c := as[*sessionValue](l, 1, "session")
			if c.s != nil {
				c.id = id(c.s.ID())
			}
			l.Push(c.id)
			return 1
		},
		"uid": func(l *glua.LState) int {
			c := as[*sessionValue](l, 1, "session")
			if c.s != nil {
				c.uid = id(c.s.UID())
			}
			l.Push(c.uid)
			return 1
		},
		"closed": func(l *glua.LState) int {
			c := as[*sessionValue](l, 1, "session")
			l.Push(glua.LBool(c.s == nil || c.s.Closed()))
			return 1
		},
		"suspended": func(l *glua.LState) int {
			l.Push(glua.LBool(open(l).Suspended()))
			return 1
		},
		"remote_addr": func(l *glua.LState) int {
			l.Push(glua.LString(open(l).RemoteAddr().String()))
			return 1
		},
		"bind": func(l *glua.LState) int { return v.result(l, open(l).Bind(checkID(l, 2))) },
		"clear": func(l *glua.LState) int {
			open(l).Clear()
			return 0
		},
		"close": func(l *glua.LState) int {
			open(l).Close()
			return 0
		},
		"kick": func(l *glua.LState) int { return v.result(l, open(l).Kick(l.OptString(2, ""))) },
		"push": func(l *glua.LState) int {
			return v.result(l, open(l).Push(checkRoute(l, 2), v.checkPayload(l, 3)))
		},
		"respond": func(l *glua.LState) int {
			s, data := open(l), v.checkPayload(l, 2)
			v.answered = true
			return v.result(l, s.Response(data))
		},
		"defer": func(l *glua.LState) int {
			v.answered = true
			l.Push(v.value(open(l).Defer(), v.types.responder))
			return 1
		},
		"set":        v.sessionSet,
		"get":        v.sessionGet,
		"has":        func(l *glua.LState) int { l.Push(glua.LBool(open(l).HasKey(l.CheckString(2)))); return 1 },
		"remove":     func(l *glua.LState) int { open(l).Remove(l.CheckString(2)); return 0 },
		"values":     v.sessionValues,
		"on_close":   v.onClose,
		"on_suspend": v.onSuspend,
		"on_resume":  v.onResume,
		"call":       v.sessionCall,
		"rpc":        v.sessionRPC,
		"bind_service": func(l *glua.LState) int {
			open(l).Router().Bind(l.CheckString(2), l.CheckString(3))
			return 0
		},
		"unbind_service": func(l *glua.LState) int {
			open(l).Router().Delete(l.CheckString(2))
			return 0
		},
		"service": func(l *glua.LState) int {
			if address, ok := open(l).Router().Find(l.CheckString(2)); ok {
				l.Push(glua.LString(address))
				return 1
			}
			return 0
		},
	}
}

// sessionSet stores a value in the session. Handlers in Go see strings, float64 and bool; any
// other value is of use to scripts only.
func (v *vm) sessionSet(l *glua.LState) int {
	s, key := open(l), l.CheckString(2)
	switch value := l.CheckAny(3).(type) {
	case *glua.LNilType:
		s.Remove(key)
	case glua.LBool:
		s.Set(key, bool(value))
	case glua.LNumber:
		s.Set(key, float64(value))
	case glua.LString:
		s.Set(key, string(value))
	default:
		s.Set(key, value)
	}
	return 0
}

func (v *vm) sessionGet(l *glua.LState) int {
	l.Push(v.fromGo(open(l).Value(l.CheckString(2))))
	return 1
}

func (v *vm) sessionValues(l *glua.LState) int {
	t := l.NewTable()
	for key, value := range open(l).State() {
		t.RawSetString(key, v.fromGo(value))
	}
	l.Push(t)
	return 1
}

// fromGo returns a value that Go has stored in a session; nil for a type that Lua does not have.
func (v *vm) fromGo(value any) glua.LValue {
	switch value := value.(type) {
	case glua.LValue:
		return value
	case bool:
		return glua.LBool(value)
	case string:
		return glua.LString(value)
	case []byte:
		return glua.LString(value)
	case float64:
		return glua.LNumber(value)
	case float32:
		return glua.LNumber(value)
	}
	return integerOf(reflect.ValueOf(value))
}

// integerOf returns an integer of Go: a string if it has 64 bits, and nil for another type.
func integerOf(value reflect.Value) glua.LValue {
	switch {
	case value.CanInt() && value.Kind() == reflect.Int64:
		return id(value.Int())
	case value.CanInt():
		return number(strconv.FormatInt(value.Int(), 10))
	case value.CanUint() && value.Kind() == reflect.Uint64:
		return glua.LString(strconv.FormatUint(value.Uint(), 10))
	case value.CanUint():
		return number(strconv.FormatUint(value.Uint(), 10))
	}
	return glua.LNil
}

// onClose registers a callback that gets the session and the name of the reason.
func (v *vm) onClose(l *glua.LState) int {
	s, self, c := open(l), l.Get(1), v.callback(l, 2)
	s.OnClose(func(_ *session.Session, reason error) {
		v.run("on_close", c, self, glua.LString(session.ReasonOf(reason).String()))
	})
	return 0
}

func (v *vm) onSuspend(l *glua.LState) int {
	s, self, c := open(l), l.Get(1), v.callback(l, 2)
	s.OnSuspend(func(_ *session.Session, reason error) {
		v.run("on_suspend", c, self, glua.LString(session.ReasonOf(reason).String()))
	})
	return 0
}

func (v *vm) onResume(l *glua.LState) int {
	s, self, c := open(l), l.Get(1), v.callback(l, 2)
	s.OnResume(func(*session.Session) { v.run("on_resume", c, self) })
	return 0
}

// sessionCall implements session:call(route, request, callback).
func (v *vm) sessionCall(l *glua.LState) int {
	v.ready(l)
	s, route, data := open(l), l.CheckString(2), v.checkPayload(l, 3)
	return v.startCall(l, 4, func(ctx context.Context, reply *[]byte) error { return s.Call(ctx, route, data, reply) })
}

func (v *vm) sessionRPC(l *glua.LState) int {
	return v.result(l, open(l).RPC(l.CheckString(2), v.checkPayload(l, 3)))
}

func (v *vm) responderReply(l *glua.LState) int {
	r := as[*session.Responder](l, 1, "responder")
	return v.result(l, r.Reply(v.checkPayload(l, 2)))
}

// responderFail answers with an error of nano.error, or with NANO-500 and a text for the log.
func (v *vm) responderFail(l *glua.LState) int {
	r := as[*session.Responder](l, 1, "responder")
	if public, ok := publicError(l.Get(2)); ok {
		return v.result(l, r.Fail(public))
	}
	text := l.Where(1) + " " + l.ToStringMeta(l.Get(2)).String()
	return v.result(l, r.Fail(&scriptError{text, v.number()}))
}
