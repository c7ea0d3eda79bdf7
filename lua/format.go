package lua

import (
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// stringFormat implements string.format with the verbs of Lua only: the verbs of package fmt
// would show values of Go.
func (v *vm) stringFormat(l *glua.LState) int {
	format := l.CheckString(1)
	v.chargeBytes(l, len(format))
	var b strings.Builder
	arg := 1
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			b.WriteByte(c)
			continue
		}
		if i++; i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		spec := verb(l, format[i:])
		i += len(spec) - 1
		arg++
		v.formatOne(l, &b, spec, arg)
		if b.Len() > maxText {
			l.RaiseError("the text would have more than %d bytes", maxText)
		}
	}
	v.chargeBytes(l, b.Len())
	l.Push(glua.LString(b.String()))
	return 1
}

// verb returns the flags, the width, the precision and the letter of a verb that text begins
// with. Width and precision have at most two digits.
func verb(l *glua.LState, text string) string {
	i := 0
	digits := func() {
		for n := 0; i < len(text) && text[i] >= '0' && text[i] <= '9'; n++ {
			if i++; n == 2 {
				l.RaiseError("invalid format (width or precision too long)")
			}
		}
	}
	for i < len(text) && strings.IndexByte("-+ #0", text[i]) >= 0 {
		if i++; i > 5 {
			l.RaiseError("invalid format (repeated flags)")
		}
	}
	digits()
	if i < len(text) && text[i] == '.' {
		i++
		digits()
	}
	if i == len(text) {
		l.RaiseError("invalid format (it ends inside a verb)")
	}
	return text[:i+1]
}

// formatOne appends one argument.
func (v *vm) formatOne(l *glua.LState, b *strings.Builder, spec string, arg int) {
	flags, letter := spec[:len(spec)-1], spec[len(spec)-1]
	switch letter {
	case 'c':
		fmt.Fprintf(b, "%"+flags+"s", string([]byte{byte(integer(l, arg, 0))}))
	case 'd', 'i':
		fmt.Fprintf(b, "%"+flags+"d", int64(l.CheckNumber(arg)))
	case 'u', 'o', 'x', 'X':
		if letter == 'u' {
			letter = 'd'
		}
		fmt.Fprintf(b, "%"+flags+string(letter), uint64(int64(l.CheckNumber(arg))))
	case 'e', 'E', 'f', 'g', 'G':
		if letter|0x20 == 'g' && !strings.Contains(flags, ".") {
			flags += ".6" // the default of Lua
		}
		fmt.Fprintf(b, "%"+flags+string(letter), float64(l.CheckNumber(arg)))
	case 'q':
		s := l.CheckString(arg)
		v.chargeBytes(l, len(s))
		quote(b, s)
	case 's':
		s := l.ToStringMeta(l.CheckAny(arg)).String()
		v.chargeBytes(l, len(s))
		fmt.Fprintf(b, "%"+flags+"s", s)
	default:
		l.RaiseError("invalid option '%%%s' to 'format'", string(letter))
	}
}

// quote appends a text as a literal of Lua.
func quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\000`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}
