package lua

import (
	"math"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

const (
	// maxText is how many bytes a text may have that a function makes or searches.
	maxText = 1 << 20
	// maxPattern is how many bytes a pattern may have.
	maxPattern = 1 << 10
	// maxValues is how many values a function may return.
	maxValues = 8000
	// copySteps is how many copied bytes cost a step.
	copySteps = 64
)

// charge counts n steps, and ends the call if it has reached a limit.
func (v *vm) charge(l *glua.LState, n int) {
	if !v.meter.spend(n) {
		l.RaiseError("%v", v.meter.err)
	}
}

// chargeBytes charges for a text of n bytes that a function makes, and raises an error if it
// is too long.
func (v *vm) chargeBytes(l *glua.LState, n int) { v.chargePart(l, 0, n) }

// chargePart charges for n more bytes of a text that has size bytes so far. It returns the
// new size.
func (v *vm) chargePart(l *glua.LState, size, n int) int {
	if size += n; size > maxText {
		l.RaiseError("the text would have more than %d bytes", maxText)
	}
	v.charge(l, 1+n/copySteps)
	return size
}

// stringLibrary returns the library string.
func (v *vm) stringLibrary(original *glua.LTable) *glua.LTable {
	lib := v.state.NewTable()
	for _, name := range []string{"len", "lower", "reverse", "sub", "upper"} {
		v.wrap(lib, original, name, func(l *glua.LState) { v.chargeBytes(l, len(l.CheckString(1))) })
	}
	v.wrap(lib, original, "char", func(*glua.LState) {})
	v.state.SetFuncs(lib, map[string]glua.LGFunction{
		"byte": v.stringByte, "rep": v.stringRep, "format": v.stringFormat,
		"find": v.stringFind, "match": v.stringMatch, "gmatch": v.stringGmatch, "gsub": v.stringGsub,
	})
	return lib
}

// wrap copies a function of a library of gopher-lua; before runs first.
func (v *vm) wrap(lib, original *glua.LTable, name string, before func(*glua.LState)) {
	f := original.RawGetString(name).(*glua.LFunction).GFunction
	lib.RawSetString(name, v.state.NewFunction(func(l *glua.LState) int {
		before(l)
		return f(l)
	}))
}

// index returns a position of a text, counted from 0, for one counted from 1, or from the end
// if it is below 0.
func index(i, size int) int {
	switch {
	case i > 0:
		return i - 1
	case i == 0:
		return 0
	}
	return max(size+i, 0)
}

// integer returns an argument as an integer; d if it is missing.
func integer(l *glua.LState, n, d int) int {
	if l.Get(n) == glua.LNil {
		return d
	}
	f := float64(l.CheckNumber(n))
	switch {
	case math.IsNaN(f):
		l.ArgError(n, "want a number")
	case f >= math.MaxInt32:
		return math.MaxInt32
	case f <= math.MinInt32:
		return math.MinInt32
	}
	return int(f)
}

func (v *vm) stringByte(l *glua.LState) int {
	s := l.CheckString(1)
	from := integer(l, 2, 1)
	to := integer(l, 3, from)
	first := index(from, len(s))
	if to < 0 {
		to += len(s) + 1
	}
	to = min(to, len(s))
	if to-first > maxValues {
		l.RaiseError("string slice too long")
	}
	v.charge(l, max(to-first, 0))
	n := 0
	for ; first+n < to; n++ {
		l.Push(glua.LNumber(s[first+n]))
	}
	return n
}

func (v *vm) stringRep(l *glua.LState) int {
	s, n := l.CheckString(1), max(integer(l, 2, 0), 0)
	if len(s) > 0 && n > maxText/len(s) {
		l.RaiseError("the text would have more than %d bytes", maxText)
	}
	v.chargeBytes(l, n*len(s))
	l.Push(glua.LString(strings.Repeat(s, n*min(len(s), 1))))
	return 1
}

// matcher makes a matcher of the arguments 1 and 2.
func (v *vm) matcher(l *glua.LState) *matcher {
	m := &matcher{vm: v, state: l, src: l.CheckString(1), pat: l.CheckString(2)}
	if len(m.src) > maxText {
		l.ArgError(1, "the text is too long")
	}
	if len(m.pat) > maxPattern {
		l.ArgError(2, "the pattern is too long")
	}
	return m
}

func anchored(pattern string) bool { return strings.HasPrefix(pattern, "^") }

func (v *vm) stringFind(l *glua.LState) int {
	start := integer(l, 3, 1)
	if plain := l.ToBool(4); plain || !strings.ContainsAny(l.CheckString(2), "^$*+?.([%-") {
		return v.findPlain(l, l.CheckString(1), l.CheckString(2), start)
	}
	m := v.matcher(l)
	from, to := m.next(index(start, len(m.src)), anchored(m.pat))
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(from + 1))
	l.Push(glua.LNumber(to))
	return 2 + m.push(from, to, false)
}

func (v *vm) findPlain(l *glua.LState, s, part string, start int) int {
	v.chargeBytes(l, max(len(s), len(part)))
	at := index(start, len(s))
	i := -1
	if at <= len(s) {
		i = strings.Index(s[at:], part)
	}
	if i < 0 {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(at + i + 1))
	l.Push(glua.LNumber(at + i + len(part)))
	return 2
}

func (v *vm) stringMatch(l *glua.LState) int {
	m := v.matcher(l)
	from, to := m.next(index(integer(l, 3, 1), len(m.src)), anchored(m.pat))
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	return m.push(from, to, true)
}

func (v *vm) stringGmatch(l *glua.LState) int {
	m := v.matcher(l)
	at := 0
	l.Push(l.NewFunction(func(l *glua.LState) int {
		m.state = l // the caller may be another coroutine
		from, to := m.next(at, false)
		if from < 0 {
			at = len(m.src) + 1
			return 0
		}
		if at = to; to == from {
			at++
		}
		return m.push(from, to, true)
	}))
	return 1
}

func (v *vm) stringGsub(l *glua.LState) int {
	m := v.matcher(l)
	with := l.Get(3)
	switch with.(type) {
	case glua.LString, glua.LNumber, *glua.LTable, *glua.LFunction:
	default:
		l.ArgError(3, "want a string, a table or a function")
	}
	limit := integer(l, 4, math.MaxInt32)
	var b strings.Builder
	at, n := 0, 0
	for n < limit && at <= len(m.src) {
		from, to := m.next(at, anchored(m.pat))
		if from < 0 {
			break
		}
		n++
		text := v.replacement(l, m, with, from, to)
		v.chargeBytes(l, len(text))
		b.WriteString(m.src[at:from])
		b.WriteString(text)
		if at = to; to == from {
			b.WriteString(m.src[from:min(from+1, len(m.src))])
			at++
		}
		if b.Len() > maxText {
			l.RaiseError("the text would have more than %d bytes", maxText)
		}
		if anchored(m.pat) {
			break
		}
	}
	if at < len(m.src) {
		b.WriteString(m.src[at:])
	}
	v.chargeBytes(l, b.Len())
	l.Push(glua.LString(b.String()))
	l.Push(glua.LNumber(n))
	return 2
}

// replacement returns what replaces a match of gsub.
func (v *vm) replacement(l *glua.LState, m *matcher, with glua.LValue, from, to int) string {
	var value glua.LValue
	switch with := with.(type) {
	case *glua.LTable:
		value = l.GetTable(with, m.value(0, from, to))
	case *glua.LFunction:
		l.Push(with)
		l.Call(m.push(from, to, true), 1)
		value = l.Get(-1)
		l.Pop(1)
	default:
		return m.template(with.String(), from, to)
	}
	switch {
	case glua.LVIsFalse(value):
		return m.src[from:to]
	case !glua.LVCanConvToString(value):
		l.RaiseError("invalid replacement value (a %s)", value.Type())
	}
	return value.String()
}

// template fills captures into a replacement such as "%1".
func (m *matcher) template(text string, from, to int) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c != '%':
			b.WriteByte(c)
		case i+1 == len(text):
			m.state.RaiseError("invalid use of '%%' in replacement string")
		default:
			i++
			switch d := text[i]; {
			case d == '0':
				b.WriteString(m.src[from:to])
			case d >= '1' && d <= '9':
				b.WriteString(m.value(int(d-'1'), from, to).String())
			default:
				b.WriteByte(d)
			}
		}
		if b.Len() > maxText {
			m.state.RaiseError("the text would have more than %d bytes", maxText)
		}
	}
	return b.String()
}
