package lua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/lonng/nano"
	"github.com/lonng/nano/session"
)

// types are the metatables of the values that scripts get.
type types struct {
	session, group, timer, responder, failure, integer *glua.LTable
}

// newTypes makes the metatables.
func (v *vm) newTypes() {
	v.types = types{
		session:   v.newType("session", v.sessionMethods()),
		group:     v.newType("group", v.groupMethods()),
		timer:     v.newType("timer", map[string]glua.LGFunction{"stop": v.timerStop, "id": v.timerID}),
		responder: v.newType("responder", map[string]glua.LGFunction{"reply": v.responderReply, "fail": v.responderFail}),
		failure:   v.newType("error", nil),
		integer:   v.newType("integer", nil),
	}
	v.state.SetFuncs(v.types.failure, map[string]glua.LGFunction{"__index": failureIndex, "__tostring": failureText})
	v.state.SetFuncs(v.types.integer, map[string]glua.LGFunction{"__tostring": integerString})
}

// newType makes a metatable with methods. Scripts cannot change or read it.
func (v *vm) newType(name string, methods map[string]glua.LGFunction) *glua.LTable {
	t := v.state.NewTable()
	t.RawSetString("__index", v.state.SetFuncs(v.state.NewTable(), methods))
	t.RawSetString("__metatable", glua.LString(name))
	return t
}

// value makes a value of a type.
func (v *vm) value(inner any, t *glua.LTable) *glua.LUserData {
	u := v.state.NewUserData()
	u.Value, u.Metatable = inner, t
	return u
}

// as returns an argument that is a value of Go.
func as[T any](l *glua.LState, n int, name string) T {
	u, _ := l.Get(n).(*glua.LUserData)
	if u != nil {
		if inner, ok := u.Value.(T); ok {
			return inner
		}
	}
	l.ArgError(n, "want a "+name)
	panic("unreachable")
}

// result pushes the result of a function that can fail: true, or nil and the error.
func (v *vm) result(l *glua.LState, err error) int {
	if err == nil {
		l.Push(glua.LTrue)
		return 1
	}
	l.Push(glua.LNil)
	l.Push(v.failureOf(err))
	return 2
}

// failureOf returns an error for the script.
func (v *vm) failureOf(err error) glua.LValue {
	var public *nano.Error
	if errors.As(err, &public) && public != nil {
		return v.value(public, v.types.failure)
	}
	return glua.LString(err.Error())
}

func failureIndex(l *glua.LState) int {
	e := as[*nano.Error](l, 1, "error")
	switch l.CheckString(2) {
	case "code":
		l.Push(glua.LString(e.Code))
	case "message":
		l.Push(glua.LString(e.Message))
	default:
		l.Push(glua.LNil)
	}
	return 1
}

func failureText(l *glua.LState) int {
	l.Push(glua.LString(as[*nano.Error](l, 1, "error").Error()))
	return 1
}

func integerString(l *glua.LState) int {
	l.Push(glua.LString(as[integerText](l, 1, "integer")))
	return 1
}

// id returns a number of 64 bits as the script gets it.
func id(n int64) glua.LValue { return glua.LString(strconv.FormatInt(n, 10)) }

// checkID returns an argument that is a number of 64 bits: a string of digits, or a number.
func checkID(l *glua.LState, n int) int64 {
	switch value := l.Get(n).(type) {
	case glua.LString:
		if i, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			return i
		}
	case glua.LNumber:
		if f := float64(value); f == math.Trunc(f) && math.Abs(f) <= exact {
			return int64(f)
		}
	}
	l.ArgError(n, "want an integer, or a string with one")
	return 0
}

// checkPayload returns an argument as the payload of a message.
func (v *vm) checkPayload(l *glua.LState, n int) []byte {
	data, err := v.payload(l.Get(n))
	if err != nil {
		l.ArgError(n, err.Error())
	}
	v.charge(l, len(data)/copySteps)
	return data
}

// nanoLibrary returns the table nano of a version.
func (v *vm) nanoLibrary() *glua.LTable {
	t := v.state.SetFuncs(v.state.NewTable(), map[string]glua.LGFunction{
		"error": v.newFailure, "integer": v.newInteger, "array": v.newArray, "group": v.newGroup,
		"now": now, "version": v.versionNumber,
		"after": v.after, "every": v.every, "times": v.times, "when": v.when, "invoke": v.invoke,
		"push": v.pushUser, "kick": v.kickUser, "session": v.findSession, "sessions": v.findSessions,
		"call": v.callNode, "members": v.members, "stats": v.stats,
	})
	t.RawSetString("null", v.null)
	t.RawSetString("json", v.state.SetFuncs(v.state.NewTable(), map[string]glua.LGFunction{
		"encode": v.jsonEncode, "decode": v.jsonDecode,
	}))
	levels := map[string]glua.LGFunction{}
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		levels[name] = func(l *glua.LState) int { return v.logAt(l, level) }
	}
	t.RawSetString("log", v.state.SetFuncs(v.state.NewTable(), levels))
	return t
}

// newFailure makes an error for the client: nano.error(code, text).
func (v *vm) newFailure(l *glua.LState) int {
	l.Push(v.value(&nano.Error{Code: l.CheckString(1), Message: l.CheckString(2)}, v.types.failure))
	return 1
}

// newInteger makes an integer of 64 bits that JSON holds as a number.
func (v *vm) newInteger(l *glua.LState) int {
	l.Push(v.value(integerText(strconv.FormatInt(checkID(l, 1), 10)), v.types.integer))
	return 1
}

// newArray marks a table as an array, so that the JSON of an empty one is [].
func (v *vm) newArray(l *glua.LState) int {
	t := l.OptTable(1, nil)
	if t == nil {
		t = l.NewTable()
	}
	if t.Metatable != glua.LNil && t.Metatable != v.array {
		l.ArgError(1, "the table has a metatable")
	}
	t.Metatable = v.array
	l.Push(t)
	return 1
}

// now returns the time in seconds since 1970.
func now(l *glua.LState) int {
	l.Push(glua.LNumber(float64(time.Now().UnixMicro()) / 1e6))
	return 1
}

func (v *vm) versionNumber(l *glua.LState) int {
	l.Push(glua.LNumber(v.number()))
	return 1
}

func (v *vm) jsonEncode(l *glua.LState) int {
	data, err := v.encode(l.CheckAny(1))
	if err != nil {
		l.ArgError(1, err.Error())
	}
	v.chargeBytes(l, len(data))
	l.Push(glua.LString(data))
	return 1
}

func (v *vm) jsonDecode(l *glua.LState) int {
	text := l.CheckString(1)
	v.chargeBytes(l, len(text))
	v.charge(l, len(text)/8) // decoding takes longer than copying
	value, err := v.decode([]byte(text))
	if err != nil {
		return v.result(l, err)
	}
	l.Push(value)
	return 1
}

// logAt logs a text, with the fields of a table.
func (v *vm) logAt(l *glua.LState, level slog.Level) int {
	text := l.ToStringMeta(l.CheckAny(1)).String()
	size := v.chargePart(l, 0, len(text))
	var fields []any
	if t := l.OptTable(2, nil); t != nil {
		for key, value := t.Next(glua.LNil); key != glua.LNil; key, value = t.Next(key) {
			field := slog.String(key.String(), l.ToStringMeta(value).String())
			size = v.chargePart(l, size, len(field.Key)+len(field.Value.String()))
			fields = append(fields, field)
		}
	}
	v.log.Log(context.Background(), level, "nano: script says", "text", text, slog.Group("fields", fields...))
	return 0
}

func (v *vm) pushUser(l *glua.LState) int {
	v.ready(l)
	return v.result(l, v.server.Push(checkID(l, 1), l.CheckString(2), v.checkPayload(l, 3)))
}

func (v *vm) kickUser(l *glua.LState) int {
	v.ready(l)
	return v.result(l, v.server.Kick(checkID(l, 1), l.OptString(2, "")))
}

func (v *vm) findSession(l *glua.LState) int {
	v.ready(l)
	s, ok := v.server.Session(checkID(l, 1))
	if !ok {
		return 0
	}
	l.Push(v.session(s))
	return 1
}

func (v *vm) findSessions(l *glua.LState) int {
	v.ready(l)
	t := l.NewTable()
	for _, s := range v.server.SessionsByUID(checkID(l, 1)) {
		t.Append(v.session(s))
	}
	l.Push(t)
	return 1
}

// members returns the other nodes of the cluster.
func (v *vm) members(l *glua.LState) int {
	v.ready(l)
	list := l.NewTable()
	for _, m := range v.server.Members() {
		t := l.NewTable()
		t.RawSetString("id", glua.LString(strconv.FormatUint(m.ID, 10)))
		t.RawSetString("address", glua.LString(m.Addr))
		t.RawSetString("label", glua.LString(m.Label))
		t.RawSetString("up", glua.LBool(m.Up))
		services := l.NewTable()
		for _, name := range m.Services {
			services.Append(glua.LString(name))
		}
		t.RawSetString("services", services)
		list.Append(t)
	}
	l.Push(list)
	return 1
}

// stats returns figures of the server.
func (v *vm) stats(l *glua.LState) int {
	v.ready(l)
	st := v.server.Stats()
	t := l.NewTable()
	for name, n := range map[string]int64{
		"connections": int64(st.Connections), "sessions": int64(st.Sessions), "accepted": st.Accepted,
		"messages_in": st.MessagesIn, "messages_out": st.MessagesOut,
		"bytes_in": st.BytesIn, "bytes_out": st.BytesOut, "queue": int64(st.QueueDepth), "panics": st.Panics,
	} {
		t.RawSetString(name, glua.LNumber(n))
	}
	l.Push(t)
	return 1
}

// calls are the calls to other nodes that wait for a reply.
type calls struct {
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{} // holds a value for each call
}

// maxCalls is how many calls may wait for replies.
const maxCalls = 1024

func newCalls() calls {
	c := calls{slots: make(chan struct{}, maxCalls)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// close ends the calls and waits for their goroutines.
func (c *calls) close() {
	c.cancel()
	for range maxCalls {
		c.slots <- struct{}{}
	}
}

// callNode implements nano.call(route, request, callback).
func (v *vm) callNode(l *glua.LState) int {
	v.ready(l)
	route, data := l.CheckString(1), v.checkPayload(l, 2)
	return v.startCall(l, 3, func(ctx context.Context, reply *[]byte) error { return v.server.Call(ctx, route, data, reply) })
}

// startCall runs a call on a goroutine, and then the callback on the logic goroutine with the
// reply, or with nil and the error.
func (v *vm) startCall(l *glua.LState, n int, call func(context.Context, *[]byte) error) int {
	var c *callback
	if l.Get(n) != glua.LNil {
		given := v.callback(l, n)
		c = &given
	}
	select {
	case v.calls.slots <- struct{}{}:
	default:
		return v.result(l, fmt.Errorf("%d calls wait for their replies", maxCalls))
	}
	go func() {
		defer func() { <-v.calls.slots }()
		var data []byte
		err := call(v.calls.ctx, &data)
		if c != nil {
			v.server.Invoke(func() { v.called(*c, data, err) })
		}
	}()
	return v.result(l, nil)
}

// called runs the callback of a call.
func (v *vm) called(c callback, data []byte, err error) {
	reply := glua.LNil
	if err == nil {
		reply, err = v.received(data)
	}
	if err != nil {
		v.run("a reply", c, glua.LNil, v.failureOf(err))
		return
	}
	v.run("a reply", c, reply)
}

// checkRoute returns an argument that is the route of a push.
func checkRoute(l *glua.LState, n int) string {
	route := l.CheckString(n)
	if err := session.CheckRoute(route); err != nil {
		l.ArgError(n, strings.TrimPrefix(err.Error(), "session: "))
	}
	return route
}
