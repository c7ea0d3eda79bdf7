package room_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize"
	jsons "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/serialize/protobuf"
)

// Inn is a room of a server that speaks protobuf.
type Inn struct {
	room.Base[struct{ Guest string }]
}

func (i *Inn) OnJoin(_ *room.Player, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	i.State.Guest = name.Value
	return wrapperspb.String("hello " + name.Value), nil
}

func (i *Inn) Rename(_ *room.Player, name *wrapperspb.StringValue) { i.State.Guest = name.Value }

// With protobuf, options and replies of a join are payloads in base64.
func TestProtobuf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, room.Define[Inn]("inn").Option(), nano.WithSerializer(protobuf.NewSerializer()))
		p := srv.Connect(t)
		name, err := protobuf.NewSerializer().Marshal(wrapperspb.String("ann"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := croom.JoinOrCreate(t.Context(), p.Client, "inn", name, nil)
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		var hello wrapperspb.StringValue
		if err := r.Reply(&data); err != nil {
			t.Fatal(err)
		}
		if err := protobuf.NewSerializer().Unmarshal(data, &hello); err != nil || hello.Value != "hello ann" {
			t.Errorf("reply = %q, %v, want hello ann", hello.Value, err)
		}
		if err := r.Request(t.Context(), "Rename", wrapperspb.String("bob"), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if guest, _ := r.Get("guest"); guest != "bob" {
			t.Errorf("guest = %v, want bob", guest)
		}
		for _, options := range []any{map[string]int{"a": 1}, "no base64!", []byte{0xff}} {
			if _, err := croom.JoinOrCreate(t.Context(), srv.Connect(t).Client, "inn", options, nil); code(err) != "NANO-400" {
				t.Errorf("options %v = %v, want NANO-400", options, err)
			}
		}
	})
}

// Silent is a room whose OnJoin may return nil.
type Silent struct{ room.Base[struct{}] }

func (*Silent) OnJoin(*room.Player) *wrapperspb.StringValue { return nil }

// With protobuf, which has no null, a nil pointer is the same as no reply. With JSON it is null.
func TestProtobufNilReply(t *testing.T) {
	for _, test := range []struct {
		name       string
		serializer serialize.Serializer
		want       string
	}{
		{"protobuf", protobuf.NewSerializer(), ""},
		{"json", jsons.NewSerializer(), "null"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := nanotest.Start(t, room.Define[Silent]("silent").Option(), nano.WithSerializer(test.serializer))
				ask := []byte(`{"kind":"silent"}`)
				var answer []byte
				if err := srv.Connect(t).Request(t.Context(), "room.joinOrCreate", ask, &answer); err != nil {
					t.Fatal(err)
				}
				var seat map[string]json.RawMessage
				if err := json.Unmarshal(answer, &seat); err != nil {
					t.Fatal(err)
				}
				if got := string(seat["reply"]); got != test.want {
					t.Errorf("reply = %q, want %q", got, test.want)
				}
			})
		})
	}
}

// A client that has the schema gets its hash alone.
func TestSchemaIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		var first, second map[string]json.RawMessage
		ask := map[string]any{"kind": "pond", "options": JoinOptions{"ann"}}
		if err := l.Connect(t).Request(t.Context(), "room.joinOrCreate", ask, &first); err != nil {
			t.Fatal(err)
		}
		ask["hash"] = first["hash"]
		if err := l.Connect(t).Request(t.Context(), "room.joinOrCreate", ask, &second); err != nil {
			t.Fatal(err)
		}
		if len(first["schema"]) == 0 || len(second["schema"]) != 0 || string(first["hash"]) != string(second["hash"]) {
			t.Errorf("answers %s and %s, want the schema in the first alone", first, second)
		}
	})
}

// A filter with an unknown member is refused, because the client would get rooms that it did not ask for.
func TestUnknownMembersOfFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLake(t)
		for filter, want := range map[string]string{
			`null`: "<nil>", `{}`: "<nil>", `{"equal":null}`: "<nil>",
			`{"equal":{"mode":"duel"},"near":"rank","at":5,"within":1}`: "<nil>",
			`{"mode":"duel"}`: "NANO-400", `{"equal":{"mode":"duel"},"margin":5}`: "NANO-400", `[]`: "NANO-400",
		} {
			for _, route := range []string{"room.list", "room.joinOrCreate"} {
				ask := []byte(`{"kind":"pond","options":{"name":"ann"},"filter":` + filter + `}`)
				if err := l.Connect(t).Request(t.Context(), route, ask, nil); code(err) != want {
					t.Errorf("%s with the filter %s = %v, want %s", route, filter, err, want)
				}
			}
		}
	})
}
