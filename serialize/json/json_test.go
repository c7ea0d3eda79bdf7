package json_test

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/json"
)

var (
	_ serialize.Serializer      = (*json.Serializer)(nil)
	_ serialize.AppendMarshaler = (*json.Serializer)(nil)
	_ serialize.InputCopier     = (*json.Serializer)(nil)
)

type move struct {
	Player string             `json:"player"`
	X      int                `json:"x"`
	Tags   []string           `json:"tags,omitempty"`
	Raw    stdjson.RawMessage `json:"raw,omitempty"`
}

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { return nil, errors.New("no encoding for broken") }

func TestMarshal(t *testing.T) {
	tests := map[string]struct {
		v    any
		want string
	}{
		"struct":      {move{Player: "ann", X: 3}, `{"player":"ann","x":3}`},
		"pointer":     {&move{Player: "ann", X: 3, Tags: []string{"a"}}, `{"player":"ann","x":3,"tags":["a"]}`},
		"map":         {map[string]int{"b": 2, "a": 1}, `{"a":1,"b":2}`},
		"nil":         {nil, `null`},
		"string":      {"line\n", `"line\n"`},
		"html":        {"<b>&", `"\u003cb\u003e\u0026"`},
		"raw message": {stdjson.RawMessage(` {"a" : 1} `), `{"a":1}`},
		"number":      {1.5, `1.5`},
	}
	s := json.NewSerializer()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := s.Marshal(test.v)
			if err != nil || string(got) != test.want {
				t.Errorf("Marshal(%v) = %q, %v, want %q", test.v, got, err, test.want)
			}
			got, err = s.MarshalAppend([]byte("head"), test.v)
			if err != nil || string(got) != "head"+test.want {
				t.Errorf("MarshalAppend(head, %v) = %q, %v, want %q", test.v, got, err, "head"+test.want)
			}
		})
	}
}

func TestMarshalErrors(t *testing.T) {
	s := json.NewSerializer()
	for _, v := range []any{make(chan int), func() {}, broken{}, map[string]any{"deep": []any{1, make(chan int)}}} {
		if got, err := s.Marshal(v); err == nil {
			t.Errorf("Marshal(%T) = %q, want an error", v, got)
		}
		dst := append(make([]byte, 0, 64), "head"...)
		got, err := s.MarshalAppend(dst, v)
		if err == nil || string(got) != "head" || &got[0] != &dst[0] {
			t.Errorf("MarshalAppend(head, %T) = %q, %v, want dst unchanged and an error", v, got, err)
		}
	}
	if got, err := s.MarshalAppend(nil, 1); err != nil || string(got) != "1" {
		t.Errorf("MarshalAppend(nil, 1) after errors = %q, %v, want 1", got, err)
	}
}

func TestMarshalAppendWritesInPlace(t *testing.T) {
	dst := append(make([]byte, 0, 256), "head"...)
	got, err := json.NewSerializer().MarshalAppend(dst, move{Player: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &dst[0] {
		t.Error("MarshalAppend moved a slice that had room")
	}
}

func TestUnmarshal(t *testing.T) {
	s := json.NewSerializer()
	if !s.CopiesInput() {
		t.Error("CopiesInput() = false, want true")
	}
	data := []byte(`{"player":"ann","x":3,"tags":["a","b"],"raw":{"k":[1]},"unknown":0}`)
	want := move{Player: "ann", X: 3, Tags: []string{"a", "b"}, Raw: stdjson.RawMessage(`{"k":[1]}`)}
	var got move
	if err := s.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Unmarshal = %+v once its input was overwritten, want %+v", got, want)
	}
	for _, bad := range []string{``, `{`, `{"x":"three"}`, `[]`, `{} {}`} {
		if err := s.Unmarshal([]byte(bad), new(move)); err == nil {
			t.Errorf("Unmarshal(%q) = nil, want an error", bad)
		}
	}
	if err := s.Unmarshal([]byte(`{}`), move{}); err == nil {
		t.Error("Unmarshal into a value = nil, want an error")
	}
}

func TestConcurrentUse(t *testing.T) {
	s := json.NewSerializer()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			player := strings.Repeat("p", i)
			for range 200 {
				b, err := s.MarshalAppend(nil, move{Player: player, X: i})
				var got move
				if err == nil {
					err = s.Unmarshal(b, &got)
				}
				if err != nil || got.Player != player || got.X != i {
					t.Errorf("round trip of player %q, x %d = %+v, %v", player, i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{"player":"ann","x":3}`, `{"tags":["a"],"raw":{"a":1}}`, `null`, `{`, ``} {
		f.Add([]byte(seed))
	}
	s := json.NewSerializer()
	f.Fuzz(func(t *testing.T, data []byte) {
		input := bytes.Clone(data)
		var v move
		err := s.Unmarshal(data, &v)
		if !bytes.Equal(data, input) {
			t.Fatalf("Unmarshal(%q) changed its input to %q", input, data)
		}
		if err != nil {
			return
		}
		want, err := s.Marshal(v)
		if err != nil {
			t.Fatalf("Marshal of what Unmarshal(%q) gave: %v", data, err)
		}
		clear(data)
		got, err := s.MarshalAppend([]byte("head"), v)
		if err != nil || string(got) != "head"+string(want) {
			t.Fatalf("MarshalAppend(head, %+v) = %q, %v, want head%s", v, got, err, want)
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	s, v := json.NewSerializer(), &move{Player: "ann", X: 3, Tags: []string{"a", "b"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshalAppend(b *testing.B) {
	s, v := json.NewSerializer(), &move{Player: "ann", X: 3, Tags: []string{"a", "b"}}
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.MarshalAppend(buf, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	s, data := json.NewSerializer(), []byte(`{"player":"ann","x":3,"tags":["a","b"]}`)
	b.ReportAllocs()
	for b.Loop() {
		var v move
		if err := s.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}
