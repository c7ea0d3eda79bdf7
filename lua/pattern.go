package lua

import glua "github.com/yuin/gopher-lua"

const (
	// maxCaptures is how many captures a pattern may have.
	maxCaptures = 32
	// maxPatternDepth is how deep a match may recurse.
	maxPatternDepth = 200

	unfinished = -1 // length of a capture without its end
	position   = -2 // length of a position capture
)

// matcher matches a pattern of Lua. Each step is charged to the call, because a pattern
// can need time that grows with a high power of the length of the text.
type matcher struct {
	vm       *vm
	state    *glua.LState
	src, pat string
	depth    int
	level    int // captures, finished or not
	captures [maxCaptures]capture
}

// capture is a part of the text that matched a part of the pattern.
type capture struct{ start, size int }

func (m *matcher) fail(text string) { m.state.RaiseError("%s", "malformed pattern: "+text) }

// match returns where the match of the pattern from p on ends that begins at s, or -1.
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxPatternDepth {
		m.state.RaiseError("pattern too complex")
	}
	end := m.matchHere(s, p)
	m.depth--
	return end
}

func (m *matcher) matchHere(s, p int) int {
	for p < len(m.pat) {
		m.vm.charge(m.state, 1)
		switch c := m.pat[p]; {
		case c == '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.startCapture(s, p+2, position)
			}
			return m.startCapture(s, p+1, unfinished)
		case c == ')':
			return m.endCapture(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
				return s
			}
			return -1
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'b':
			if s = m.balance(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] == 'f':
			if p += 2; p >= len(m.pat) || m.pat[p] != '[' {
				m.fail("missing '[' after '%f'")
			}
			end := m.classEnd(p)
			if m.inSet(m.at(s-1), p, end) || !m.inSet(m.at(s), p, end) {
				return -1
			}
			p = end
			continue
		case c == '%' && p+1 < len(m.pat) && m.pat[p+1] >= '0' && m.pat[p+1] <= '9':
			if s = m.again(s, m.pat[p+1]); s < 0 {
				return -1
			}
			p += 2
			continue
		}
		end := m.classEnd(p)
		single := m.single(s, p, end)
		suffix := byte(0)
		if end < len(m.pat) {
			suffix = m.pat[end]
		}
		switch suffix {
		case '?':
			if single {
				if e := m.match(s+1, end+1); e >= 0 {
					return e
				}
			}
			p = end + 1
		case '*':
			return m.longest(s, p, end)
		case '+':
			if !single {
				return -1
			}
			return m.longest(s+1, p, end)
		case '-':
			return m.shortest(s, p, end)
		default:
			if !single {
				return -1
			}
			s, p = s+1, end
		}
	}
	return s
}

// at returns a byte of the text; 0 before its begin and after its end.
func (m *matcher) at(s int) byte {
	if s < 0 || s >= len(m.src) {
		return 0
	}
	return m.src[s]
}

// longest matches as many bytes of the class from p to end as possible.
func (m *matcher) longest(s, p, end int) int {
	n := 0
	for m.single(s+n, p, end) {
		n++
	}
	for ; n >= 0; n-- {
		if e := m.match(s+n, end+1); e >= 0 {
			return e
		}
	}
	return -1
}

// shortest matches as few bytes of the class from p to end as possible.
func (m *matcher) shortest(s, p, end int) int {
	for {
		if e := m.match(s, end+1); e >= 0 {
			return e
		}
		if !m.single(s, p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) startCapture(s, p, size int) int {
	if m.level >= maxCaptures {
		m.state.RaiseError("too many captures")
	}
	m.captures[m.level] = capture{s, size}
	m.level++
	e := m.match(s, p)
	if e < 0 {
		m.level--
	}
	return e
}

func (m *matcher) endCapture(s, p int) int {
	for i := m.level - 1; i >= 0; i-- {
		if c := &m.captures[i]; c.size == unfinished {
			c.size = s - c.start
			e := m.match(s, p)
			if e < 0 {
				c.size = unfinished
			}
			return e
		}
	}
	m.fail("unexpected ')'")
	return -1
}

// balance matches %bxy, whose two bytes are at p.
func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.fail("missing arguments to '%b'")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, closing := m.pat[p], m.pat[p+1]
	for nested, i := 1, s+1; i < len(m.src); i++ {
		m.vm.charge(m.state, 1)
		switch m.src[i] {
		case closing:
			if nested--; nested == 0 {
				return i + 1
			}
		case open:
			nested++
		}
	}
	return -1
}

// again matches the text of an earlier capture.
func (m *matcher) again(s int, digit byte) int {
	i := int(digit) - '1'
	if i < 0 || i >= m.level || m.captures[i].size == unfinished {
		m.state.RaiseError("invalid capture index")
	}
	c := m.captures[i]
	size := max(c.size, 0)
	m.vm.charge(m.state, size)
	if len(m.src)-s < size || m.src[c.start:c.start+size] != m.src[s:s+size] {
		return -1
	}
	return s + size
}

// classEnd returns where the class ends that begins at p.
func (m *matcher) classEnd(p int) int {
	switch m.pat[p] {
	case '%':
		if p+1 >= len(m.pat) {
			m.fail("ends with '%'")
		}
		return p + 2
	case '[':
		p++
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				m.fail("missing ']'")
			}
			if m.pat[p] == '%' {
				p++
			}
			p++
		}
		return p + 1
	}
	return p + 1
}

// single reports whether the byte at s matches the class from p to end.
func (m *matcher) single(s, p, end int) bool {
	m.vm.charge(m.state, 1+(end-p)/8)
	if s >= len(m.src) {
		return false
	}
	c := m.src[s]
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end)
	}
	return m.pat[p] == c
}

// inSet reports whether c is in the set from p to end.
func (m *matcher) inSet(c byte, p, end int) bool {
	p++
	in := true
	if m.pat[p] == '^' {
		in = false
		p++
	}
	for last := end - 1; p < last; p++ {
		switch {
		case m.pat[p] == '%':
			p++
			if inClass(c, m.pat[p]) {
				return in
			}
		case p+2 < last && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

// inClass reports whether c is in a class such as %a, whose letter is given.
func inClass(c, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isLetter(c)
	case 'c':
		in = c < 32 || c == 127
	case 'd':
		in = c >= '0' && c <= '9'
	case 'l':
		in = c >= 'a' && c <= 'z'
	case 'p':
		in = c > 32 && c < 127 && !isLetter(c) && (c < '0' || c > '9')
	case 's':
		in = c == ' ' || c >= 9 && c <= 13
	case 'u':
		in = c >= 'A' && c <= 'Z'
	case 'w':
		in = isLetter(c) || c >= '0' && c <= '9'
	case 'x':
		in = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	return in == (class >= 'a')
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// value returns a capture for the script; capture 0 without any is the whole match.
func (m *matcher) value(i, start, end int) glua.LValue {
	if i == 0 && m.level == 0 {
		return glua.LString(m.src[start:end])
	}
	if i >= m.level {
		m.state.RaiseError("invalid capture index")
	}
	switch c := m.captures[i]; c.size {
	case unfinished:
		m.fail("unfinished capture")
	case position:
		return glua.LNumber(c.start + 1)
	default:
		return glua.LString(m.src[c.start : c.start+c.size])
	}
	return glua.LNil
}

// push pushes all captures, or the whole match if there are none and whole is true. It
// returns their number.
func (m *matcher) push(start, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		m.state.Push(m.value(i, start, end))
	}
	return n
}

// next finds the first match that begins at start or later. anchored allows start only.
func (m *matcher) next(start int, anchored bool) (from, to int) {
	p := 0
	if anchored {
		p = 1
	}
	for s := start; s <= len(m.src); s++ {
		m.vm.charge(m.state, 1)
		m.level, m.depth = 0, 0
		if e := m.match(s, p); e >= 0 {
			return s, e
		}
		if anchored {
			break
		}
	}
	return -1, -1
}
