package payload

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/json"
)

var errEncode = errors.New("cannot encode")

// plain is a serializer without MarshalAppend.
type plain struct{}

func (plain) Marshal(v any) ([]byte, error) {
	if v == nil {
		return nil, errEncode
	}
	return []byte("plain"), nil
}

// appending is a serializer with MarshalAppend.
type appending struct{ plain }

func (appending) MarshalAppend(dst []byte, v any) ([]byte, error) {
	if v == nil {
		return append(dst, "rubbish"...)[:len(dst)], errEncode
	}
	return append(dst, "appended"...), nil
}

func TestEncode(t *testing.T) {
	given := []byte("given")
	cases := []struct {
		name            string
		s               serialize.Marshaler
		v               any
		want, temporary string
		err             error
	}{
		{"bytes", plain{}, given, "given", "given", nil},
		{"bytes with MarshalAppend", appending{}, given, "given", "given", nil},
		{"value", plain{}, 1, "plain", "plain", nil},
		{"value with MarshalAppend", appending{}, 1, "plain", "appended", nil},
		{"error", plain{}, nil, "", "", errEncode},
		{"error with MarshalAppend", appending{}, nil, "", "", errEncode},
		{"nil bytes", plain{}, []byte(nil), "", "", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data, err := Encode(c.s, c.v)
			if string(data) != c.want || !errors.Is(err, c.err) {
				t.Errorf("Encode(%v) = %q, %v, want %q, %v", c.v, data, err, c.want, c.err)
			}
			p, err := EncodeTemporary(c.s, c.v)
			if string(p.Data) != c.temporary || !errors.Is(err, c.err) {
				t.Errorf("EncodeTemporary(%v) = %q, %v, want %q, %v", c.v, p.Data, err, c.temporary, c.err)
			}
			p.Free()
			p.Free() // a second call has no effect
		})
	}
	if p, _ := EncodeTemporary(appending{}, given); &p.Data[0] != &given[0] {
		t.Error("EncodeTemporary copies bytes that are given")
	}
}

// TestTemporaryBuffers checks that two payloads in use do not share a buffer, and that
// large buffers are not pooled.
func TestTemporaryBuffers(t *testing.T) {
	s := json.NewSerializer()
	large := string(bytes.Repeat([]byte("x"), 2*maxBuffer))
	a, err := EncodeTemporary(s, "first")
	if err != nil {
		t.Fatal(err)
	}
	b, err := EncodeTemporary(s, large)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Data) != `"first"` || len(b.Data) != len(large)+2 {
		t.Errorf("got payloads %q and one of %d bytes", a.Data, len(b.Data))
	}
	b.Free()
	a.Free()
	if c, err := EncodeTemporary(s, "third"); err != nil || cap(c.Data) > maxBuffer {
		t.Errorf("EncodeTemporary returns a buffer of %d bytes, error %v", cap(c.Data), err)
	}
}
