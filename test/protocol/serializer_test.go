package protocol_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
)

// Words is a component with protobuf messages.
type Words struct{ component.Base }

func (w *Words) Upper(_ *session.Session, v *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	if v.Value == "" {
		return nil, &nano.Error{Code: "WORDS-1", Message: "no words", Metadata: map[string]string{"want": "one"}}
	}
	return wrapperspb.String(strings.ToUpper(v.Value)), nil
}

func (w *Words) Raw(s *session.Session, b []byte) error { return s.Response(b) }

func TestProtobuf(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		p := testkit.Start(t, kind, &Words{}, nano.WithSerializer(protobuf.NewSerializer())).Join()
		if got, want := p.Call(1, "Words.Upper", "\x0a\x05hello"), "\x0a\x05HELLO"; got != want {
			t.Errorf("Words.Upper = %q, want %q", got, want)
		}
		if got, want := p.Call(2, "Words.Raw", "\xff as it is"), "\xff as it is"; got != want {
			t.Errorf("Words.Raw = %q, want %q", got, want)
		}
		for _, test := range []struct {
			route, payload string
			want           nano.Error
		}{
			{"Words.Upper", "", nano.Error{Code: "WORDS-1", Message: "no words", Metadata: map[string]string{"want": "one"}}},
			{"Words.Upper", "\xff", nano.Error{Code: nano.CodeBadRequest, Message: "the payload of Words.Upper does not decode"}},
			{"No.Such", "", nano.Error{Code: nano.CodeNotFound, Message: `route "No.Such" is not served here`}},
		} {
			m, err := p.Wire.Call(3, test.route, test.payload)
			if err != nil {
				t.Fatal(err)
			}
			var e nano.Error
			if err := e.UnmarshalProtobuf(m.Data); err != nil || !m.Err || fmt.Sprint(e) != fmt.Sprint(test.want) {
				t.Errorf("%s was answered by %v %q: %v, %v, want %v", test.route, m, m.Data, e, err, test.want)
			}
		}
	}
}

// picky is a serializer that supports only the program's types.
type picky struct{}

func (picky) Marshal(v any) ([]byte, error) {
	n, ok := v.(*testkit.Number)
	if !ok {
		return nil, errPicky
	}
	return fmt.Append(nil, n.N), nil
}

func (picky) Unmarshal(b []byte, v any) error {
	_, err := fmt.Sscan(string(b), &v.(*testkit.Number).N)
	return err
}

// chatty is a picky that also supports errors.
type chatty struct{ picky }

func (c chatty) Marshal(v any) ([]byte, error) {
	if e, ok := v.(*nano.Error); ok {
		return []byte("error " + e.Code), nil
	}
	return c.picky.Marshal(v)
}

func TestSerializerOfTheProgram(t *testing.T) {
	t.Parallel()
	p := testkit.Start(t, "tcp", &testkit.Game{}, nano.WithSerializer(picky{})).Join()
	if got := p.Call(1, "Game.Double", "21"); got != "42" {
		t.Errorf("Game.Double = %s, want 42", got)
	}
	if e := p.CallError(2, "Game.Double", "many"); e.Code != nano.CodeBadRequest { // the error is JSON if the serializer does not support errors
		t.Errorf("%v, want NANO-400", e)
	}
	p = testkit.Start(t, "tcp", &testkit.Game{}, nano.WithSerializer(chatty{})).Join()
	if m, err := p.Wire.Call(1, "No.Such", ""); err != nil || !m.Err || string(m.Data) != "error NANO-404" {
		t.Errorf("%v %q, %v came, want the error as the serializer has it", m, m.Data, err)
	}
}

func TestDebugModeShowsErrors(t *testing.T) {
	t.Parallel()
	p := testkit.Start(t, "tcp", &testkit.Game{}, nano.WithDebugMode(), testkit.Quiet).Join()
	if e := p.CallError(1, "Game.Fail", ""); e.Code != nano.CodeInternal || e.Message != testkit.ErrSecret.Error() {
		t.Errorf("%v, want the text of the error", e)
	}
	if e := p.CallError(2, "Game.Double", "{"); e.Code != nano.CodeBadRequest || !strings.Contains(e.Message, "unexpected end") {
		t.Errorf("%v, want what was wrong with the payload", e)
	}
}
