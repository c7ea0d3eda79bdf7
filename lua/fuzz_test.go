package lua

import (
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// FuzzDecode checks that a payload is refused, or keeps its value when it is encoded and decoded again.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{`{"a":[1,null,{"b":"é"}],"n":-1.5e300}`, `[]`, `{}`, `9223372036854775807`, `"\ud800"`, `[[[[`, `1 2`, ``} {
		f.Add([]byte(text))
	}
	v := newTestVM(f, "")
	f.Fuzz(func(t *testing.T, data []byte) {
		v.meter.begin(1) // as for a call of the script
		value, err := v.decode(data)
		if err != nil {
			return
		}
		first, err := v.encode(value)
		if err != nil {
			t.Fatalf("encode of decode(%q) = %v", data, err)
		}
		again, err := v.decode(first)
		if err != nil {
			t.Fatalf("decode(%q) = %v", first, err)
		}
		if second, err := v.encode(again); err != nil || string(second) != string(first) {
			t.Errorf("encode of decode(%q) = %q, %v", first, second, err)
		}
	})
}

// FuzzPattern checks that no pattern and no text make the functions of string fail in another
// way than by an error of the script, or take long.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{"(a*)(.-)%1", "%b()", "%f[%w]%w+", "[^%a-]]", "()$", "[a", "%", "((", "a-b+c?$"} {
		f.Add("foo (bar) aab", p)
	}
	v := newTestVM(f, `local s, p = ...
s:find(p) s:match(p) s:gsub(p, "%0%1") s:gsub(p, {}) s:format(p) for a, b in s:gmatch(p) do end return "done"`,
		WithSteps(100_000), WithTimeout(time.Minute))
	f.Fuzz(func(t *testing.T, text, pattern string) {
		_, _, err := v.call(v.current.function("run"), 1, glua.LString(text), glua.LString(pattern))
		if err != nil && !placed.MatchString(err.Error()) {
			t.Errorf("%q with %q: %v, want an error with a place", text, pattern, err)
		}
	})
}
