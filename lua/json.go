package lua

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	glua "github.com/yuin/gopher-lua"
)

const (
	// maxDepth is how deep the values of JSON may be nested.
	maxDepth = 100
	// exact is the largest integer up to which all integers are numbers of Lua.
	exact = 1 << 53
)

// integerText is an integer of 64 bits that becomes a number in JSON.
type integerText string

// decode returns the value of JSON. A null in an object is a missing field, and nano.null
// elsewhere. An integer that a number of Lua cannot hold is a string.
func (v *vm) decode(data []byte) (glua.LValue, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v.fromJSON(value, 0)
}

func (v *vm) fromJSON(value any, depth int) (glua.LValue, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	switch value := value.(type) {
	case nil:
		return v.null, nil
	case bool:
		return glua.LBool(value), nil
	case string:
		return glua.LString(value), nil
	case json.Number:
		return number(string(value)), nil
	case []any:
		t := v.state.CreateTable(len(value), 0)
		t.Metatable = v.array
		for i, e := range value {
			item, err := v.fromJSON(e, depth+1)
			if err != nil {
				return nil, err
			}
			t.RawSetInt(i+1, item)
		}
		return t, nil
	case map[string]any:
		t := v.state.CreateTable(0, len(value))
		for _, k := range slices.Sorted(maps.Keys(value)) { // scripts see the same order each time
			if value[k] == nil {
				continue
			}
			item, err := v.fromJSON(value[k], depth+1)
			if err != nil {
				return nil, err
			}
			t.RawSetString(k, item)
		}
		return t, nil
	}
	return nil, fmt.Errorf("a %T", value)
}

// number returns a number of JSON.
func number(text string) glua.LValue {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // out of range
		return glua.LString(text)
	}
	if math.Abs(f) >= exact && isInteger(text) {
		return glua.LString(text)
	}
	return glua.LNumber(f)
}

func isInteger(text string) bool { return !bytes.ContainsAny([]byte(text), ".eE") }

// encode returns a value as JSON.
func (v *vm) encode(value glua.LValue) ([]byte, error) { return v.appendJSON(nil, value, 0) }

func (v *vm) appendJSON(b []byte, value glua.LValue, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels, or a table that contains itself", maxDepth)
	}
	if len(b) > maxText {
		return nil, fmt.Errorf("the JSON would have more than %d bytes", maxText)
	}
	switch value := value.(type) {
	case *glua.LNilType:
		return append(b, "null"...), nil
	case glua.LBool:
		return strconv.AppendBool(b, bool(value)), nil
	case glua.LNumber:
		return appendNumber(b, float64(value))
	case glua.LString:
		return appendString(b, string(value))
	case *glua.LTable:
		return v.appendTable(b, value, depth)
	case *glua.LUserData:
		switch inner := value.Value.(type) {
		case nil:
			if value == v.null {
				return append(b, "null"...), nil
			}
		case integerText:
			return append(b, inner...), nil
		}
	}
	return nil, fmt.Errorf("a %s has no JSON", value.Type())
}

// appendNumber appends a number; an integer has no exponent.
func appendNumber(b []byte, f float64) ([]byte, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("the number %v has no JSON", f)
	case f == math.Trunc(f) && math.Abs(f) < exact:
		return strconv.AppendInt(b, int64(f), 10), nil
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64), nil
}

// appendString appends a text; bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			return append(b, quoted...), err
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}

// appendTable appends a table: as an array if its keys are 1 to n or nano.array marked it, and
// otherwise as an object with strings as keys.
func (v *vm) appendTable(b []byte, t *glua.LTable, depth int) ([]byte, error) {
	if !v.meter.look() { // a table may have many empty places
		return nil, v.meter.err
	}
	n, keys := t.Len(), 0
	var fault error
	t.ForEach(func(key, _ glua.LValue) {
		keys++
		if i, ok := key.(glua.LNumber); ok && !(i >= 1 && int(i) <= n && i == glua.LNumber(int(i))) {
			fault = fmt.Errorf("a table with the key %s: want strings, or 1 to n", key)
		}
	})
	isArray := t.Metatable == v.array || n > 0
	switch {
	case fault != nil:
		return nil, fault
	case isArray && keys != n:
		return nil, fmt.Errorf("a table with %d keys of which 1 to %d are a list: want strings, or 1 to n", keys, n)
	case isArray:
		return v.appendArray(b, t, n, depth)
	}
	b = append(b, '{')
	for key, value := t.Next(glua.LNil); key != glua.LNil; key, value = t.Next(key) { // in the order of insertion
		name, ok := key.(glua.LString)
		if !ok {
			return nil, fmt.Errorf("a table with a %s as key: want strings, or 1 to n", key.Type())
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, string(name)); err == nil {
			b, err = v.appendJSON(append(b, ':'), value, depth+1)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func (v *vm) appendArray(b []byte, t *glua.LTable, n, depth int) ([]byte, error) {
	b = append(b, '[')
	for i := 1; i <= n; i++ {
		if i > 1 {
			b = append(b, ',')
		}
		var err error
		if b, err = v.appendJSON(b, t.RawGetInt(i), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// payload returns a value as the payload of a message.
func (v *vm) payload(value glua.LValue) ([]byte, error) {
	if !v.options.raw {
		return v.encode(value)
	}
	switch value := value.(type) {
	case *glua.LNilType:
		return []byte{}, nil
	case glua.LString:
		return []byte(value), nil
	}
	return nil, fmt.Errorf("want a string of bytes, got a %s", value.Type())
}

// received returns the value of a payload.
func (v *vm) received(data []byte) (glua.LValue, error) {
	switch {
	case v.options.raw:
		return glua.LString(data), nil
	case len(data) == 0:
		return glua.LNil, nil
	}
	value, err := v.decode(data)
	if value == v.null {
		value = glua.LNil
	}
	return value, err
}
