package lua

import (
	"reflect"
	"testing"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/mock"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// move is the request of the handlers that are compared.
type move struct {
	X, Y int
	Name string
}

// movedTo is their reply.
type movedTo struct {
	Text string
	Far  bool
}

// inGo is the handler in Go.
type inGo struct{ component.Base }

// Move does what the handler in Lua does.
func (*inGo) Move(_ *session.Session, m *move) (*movedTo, error) {
	far := 0
	for i := 1; i <= 10; i++ {
		far += m.X*i - m.Y
	}
	return &movedTo{m.Name + " moves", far > 100}, nil
}

const inLua = `
function M.Move(session, m)
  local far = 0
  for i = 1, 10 do far = far + m.X * i - m.Y end
  return {Text = m.Name .. " moves", Far = far > 100}
end
function M.Empty() return true end
`

// BenchmarkHandler compares a handler in Lua with one in Go: decoding the request, the call, and
// encoding the reply.
func BenchmarkHandler(b *testing.B) {
	payload := []byte(`{"X":3,"Y":1,"Name":"ann"}`)
	s := session.New(mock.NewNetworkEntity())
	codec := jsonserializer.NewSerializer()
	b.Run("Go", func(b *testing.B) {
		svc, err := handler.New(&inGo{}, handler.Options{Name: "game"})
		if err != nil {
			b.Fatal(err)
		}
		h := svc.Handlers["Move"]
		b.ReportAllocs()
		for b.Loop() {
			arg, err := h.Decode(codec, payload)
			if err != nil {
				b.Fatal(err)
			}
			reply, err := h.Call(b.Context(), s, arg)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := codec.Marshal(reply); err != nil {
				b.Fatal(err)
			}
		}
	})
	v := newBenchVM(b)
	for _, name := range []string{"Move", "Empty"} {
		b.Run("Lua/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.serve("game."+name, name, s, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func newBenchVM(b testing.TB) *vm {
	path := b.TempDir() + "/game.lua"
	write(b, path, module(inLua))
	v := newVM(New(path).options, "game.lua", discard)
	src, err := readSource(path)
	if err != nil {
		b.Fatal(err)
	}
	if v.current, err = v.load(src, 1); err != nil {
		b.Fatal(err)
	}
	return v
}

// TestBenchmarkHandlers checks that the two handlers give the same replies.
func TestBenchmarkHandlers(t *testing.T) {
	s := session.New(mock.NewNetworkEntity())
	reply, err := newBenchVM(t).serve("game.Move", "Move", s, []byte(`{"X":3,"Y":1,"Name":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	inGoReply, _ := (&inGo{}).Move(s, &move{3, 1, "ann"})
	want, _ := jsonserializer.NewSerializer().Marshal(inGoReply)
	if !reflect.DeepEqual(reply, want) {
		t.Errorf("the handler in Lua replies %s, that in Go %s", reply, want)
	}
}

// BenchmarkReload measures the swap of a version.
func BenchmarkReload(b *testing.B) {
	v := newBenchVM(b)
	src := v.current.source
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.load(src, 2); err != nil {
			b.Fatal(err)
		}
	}
}
