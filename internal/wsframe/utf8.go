package wsframe

import "unicode/utf8"

// utf8Check checks text that comes in pieces. It keeps the bytes of a character that is not
// whole yet.
type utf8Check struct {
	b [utf8.UTFMax - 1]byte
	n uint8
}

// add reports whether the text can still become valid with p behind it.
func (u *utf8Check) add(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		var char [utf8.UTFMax]byte
		n := copy(char[:], u.b[:u.n])
		char[n] = p[0]
		p = p[1:]
		if !utf8.FullRune(char[:n+1]) {
			u.b[n] = char[n]
			u.n++
			continue
		}
		if r, size := utf8.DecodeRune(char[:n+1]); r == utf8.RuneError && size <= 1 {
			return false
		}
		u.n = 0
	}
	whole := len(p)
	for i := len(p) - 1; i >= 0 && len(p)-i < utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				whole = i
				u.n = uint8(copy(u.b[:], p[i:]))
			}
			break
		}
	}
	return utf8.Valid(p[:whole])
}

// done reports whether the text ends with a whole character, and begins a new text.
func (u *utf8Check) done() bool {
	whole := u.n == 0
	u.n = 0
	return whole
}
