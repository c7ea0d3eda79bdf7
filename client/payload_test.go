package client

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
)

func TestRawPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, echo)
		in := []byte{0, 1, 0xff}
		for _, payload := range []any{in, &in} {
			var out []byte
			if err := c.Request(t.Context(), "Map.Move", payload, &out); err != nil || !slices.Equal(out, in) {
				t.Errorf("Request of %T = %x, %v, want %x", payload, out, err, in)
			}
		}
	})
}

// A nil payload is the zero request with every serializer.
func TestNilPayload(t *testing.T) {
	for _, test := range []struct {
		speaks string
		opts   []Option
		want   string
	}{
		{"json", nil, "{}"},
		{"protobuf", nil, ""},
		{"", nil, ""},
		{"other", nil, ""},
		{"json", []Option{WithSerializer(protobuf.NewSerializer())}, ""},
		{"other", []Option{WithSerializer(jsonserializer.NewSerializer())}, "{}"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := pipe(t, func(f *fake) {
				f.acceptHandshake(`{"code":200,"sys":{"serializer":"` + test.speaks + `"}}`)
				m := f.receive()
				f.respond(m.ID, string(m.Data))
				if m := f.receive(); string(m.Data) != test.want {
					t.Errorf("with %q Notify of nil sends %q, want %q", test.speaks, m.Data, test.want)
				}
			}, test.opts...)
			out := []byte("before")
			if err := c.Request(t.Context(), "Map.Move", nil, &out); err != nil || string(out) != test.want {
				t.Errorf("with %q Request of nil sends %q, %v, want %q", test.speaks, out, err, test.want)
			}
			if err := c.Notify("Map.Move", nil); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		})
	}
}

func TestDictionary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const answer = `{"code":200,"sys":{"heartbeat":30,"serializer":"json","dict":{"Map.Move":1,"onMove":515}}}`
		seen := newCollect()
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(answer)
			if body := f.expect(packet.Data); string(body) != "\x01\x01\x00\x01{}" {
				t.Errorf("request in the dictionary = %x, want it compressed to code 1", body)
			}
			if body := f.expect(packet.Data); string(body) != "\x02\x05Other{}" {
				t.Errorf("notify that is not in the dictionary = %x, want its route spelled out", body)
			}
			f.write(packet.Data, []byte("\x07\x02\x03near")) // code 515
			f.push("onOther", "far")
			f.respond(1, "{}")
			f.untilClosed()
		}, WithFallback(seen.handler))
		done := make(chan error, 1)
		go func() { done <- c.Request(t.Context(), "Map.Move", struct{}{}, nil) }()
		synctest.Wait()
		if err := c.Notify("Other", struct{}{}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		seen.want(t, "onMove near", "onOther far")
	})
}

type upper struct{}

func (upper) Marshal(v any) ([]byte, error) { return []byte(strings.ToUpper(v.(string))), nil }

func (upper) Unmarshal(b []byte, v any) error {
	s, ok := v.(*string)
	if !ok {
		return errors.New("expected a *string")
	}
	*s = strings.ToLower(string(b))
	return nil
}

func TestSerializer(t *testing.T) {
	text := func(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }
	for _, test := range []struct {
		name, speaks string
		opts         []Option
		in           any
		wire         string
		err          error
	}{
		{"json", `"json"`, nil, "Ada", `"Ada"`, nil},
		{"protobuf", `"protobuf"`, nil, text("Ada"), "\n\x03Ada", nil},
		{"not named", `""`, nil, text("Ada"), "\n\x03Ada", nil},
		{"not a message", `"protobuf"`, nil, "Ada", "", protobuf.ErrWrongValueType},
		{"another, raw", `"msgpack"`, nil, []byte("Ada"), "Ada", nil},
		{"another", `"msgpack"`, nil, "Ada", "", ErrNoSerializer},
		{"option", `"protobuf"`, []Option{WithSerializer(jsonserializer.NewSerializer())}, "Ada", `"Ada"`, nil},
		{"option of one's own", `"msgpack"`, []Option{WithSerializer(upper{})}, "Ada", "ADA", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"heartbeat":30,"serializer":` + test.speaks + `}}`)
					if test.err == nil {
						if m := f.receive(); string(m.Data) != test.wire {
							t.Errorf("on the wire: %q, want %q", m.Data, test.wire)
						}
						f.respond(1, test.wire)
					}
					f.untilClosed()
				}, test.opts...)
				var raw []byte
				out := any(&raw)
				if _, ok := test.in.(*wrapperspb.StringValue); ok {
					out = new(wrapperspb.StringValue)
				}
				err := c.Request(t.Context(), "Name.Set", test.in, out)
				if !errors.Is(err, test.err) {
					t.Fatalf("Request = %v, want %v", err, test.err)
				}
				if v, ok := out.(*wrapperspb.StringValue); ok && err == nil && v.Value != "Ada" {
					t.Errorf("the answer decoded to %q, want Ada", v.Value)
				}
			})
		})
	}
}

func TestDecodeWithoutSerializer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipe(t, func(f *fake) {
			f.acceptHandshake(`{"code":200,"sys":{"serializer":"msgpack"}}`)
			f.receive()
			f.respond(1, "x")
			f.untilClosed()
		})
		var out string
		if err := c.Request(t.Context(), "Name.Get", nil, &out); !errors.Is(err, ErrNoSerializer) || !strings.Contains(err.Error(), "msgpack") {
			t.Errorf("Request = %v, want ErrNoSerializer that names msgpack", err)
		}
	})
}

func TestErrorResponse(t *testing.T) {
	full := &Error{Code: "GAME-1", Message: "no gold", Metadata: map[string]string{"need": "3"}}
	asProtobuf, err := full.MarshalProtobuf()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, speaks, body string
		want               *Error
	}{
		{"json", "json", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"protobuf", "protobuf", string(asProtobuf), full},
		{"json from a server of protobuf", "protobuf", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"protobuf from a server of json", "json", string(asProtobuf), full},
		{"json from a server of another codec", "msgpack", `{"code":"GAME-1","msg":"no gold","metadata":{"need":"3"}}`, full},
		{"text", "json", "it broke", &Error{Code: CodeInternal, Message: "it broke"}},
		{"nothing", "protobuf", "", &Error{Code: CodeInternal}},
		{"json without a code", "json", `{"oops":1}`, &Error{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := pipe(t, func(f *fake) {
					f.acceptHandshake(`{"code":200,"sys":{"serializer":"` + test.speaks + `"}}`)
					f.receive()
					f.send(&message.Message{Type: message.Response, ID: 1, Err: true, Data: []byte(test.body)})
					f.untilClosed()
				})
				out := []byte("untouched")
				err := c.Request(t.Context(), "Shop.Buy", nil, &out)
				got := &Error{}
				ok := errors.As(err, &got)
				if !ok || !reflect.DeepEqual(got, test.want) {
					t.Errorf("Request = %#v, want %#v", err, test.want)
				}
				if !errors.Is(err, &Error{Code: test.want.Code}) {
					t.Errorf("errors.Is(%v, code %s) = false", err, test.want.Code)
				}
				if string(out) != "untouched" {
					t.Errorf("an error response was decoded into out: %q", out)
				}
			})
		})
	}
}
