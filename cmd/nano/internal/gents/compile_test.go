package gents_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/gents"
)

// compile compiles a generated client strictly. more is the text of the module use.ts, which uses it. The modules in
// JavaScript are in the folder out of dir.
func compile(t *testing.T, folder string, c *contract.Contract, more string) (dir string) {
	t.Helper()
	source, err := gents.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	dir = moduleFolder(t, folder)
	write(t, filepath.Join(dir, "server.ts"), []byte(source))
	write(t, filepath.Join(dir, "use.ts"), []byte(more))
	execute(t, dir, "node_modules/.bin/tsc", "-p", ".")
	return dir
}

const pushesProgram = `import { createClient } from './server.js';

const client = createClient('ws://localhost');
client.on('Box.Open', (n) => n.toFixed());
client.on('Box.Tell', (n) => n.toFixed());
client.on('onOpen', (n) => n.toFixed());
client.notify('Box.Tell', 'text');
const reply: boolean = await client.request('Box.Open', 'text');
`

func TestPushesCompile(t *testing.T) {
	folder := nodePackages(t)
	text, number := &contract.Type{Kind: contract.KindString}, &contract.Type{Kind: contract.KindFloat, Bits: 64}
	compile(t, folder, &contract.Contract{
		Serializer: "json",
		Routes: []contract.Route{
			{Route: "Box.Open", Kind: contract.Request, Request: text, Reply: &contract.Type{Kind: contract.KindBool}},
			{Route: "Box.Tell", Kind: contract.Notify, Doc: "Tell tells.", Request: text},
		},
		Pushes: []contract.Push{
			{Route: "onOpen", Type: number},
			{Route: "Box.Tell", Type: number, Doc: "Told is pushed."},
			{Route: "onOpen", Type: &contract.Type{Kind: contract.KindFloat, Bits: 64}},
			{Route: "Box.Open", Type: number},
		},
	}, pushesProgram)
}

// Types may have the names of what the generated module itself uses.
func TestNamesCompile(t *testing.T) {
	folder := nodePackages(t)
	ref := func(name string) *contract.Type {
		return &contract.Type{Kind: contract.KindRef, Name: "example.org/game." + name}
	}
	text := &contract.Type{Kind: contract.KindString}
	for _, serializer := range []string{"json", "protobuf"} {
		for _, kind := range []string{contract.KindStruct, contract.KindMessage, contract.KindEnum} {
			t.Run(serializer+" "+kind, func(t *testing.T) {
				mood := ref("Mood")
				c := &contract.Contract{
					Serializer: serializer,
					Errors:     []contract.Error{{Code: "FULL"}},
					Rooms:      []contract.Room{{Kind: "pond", State: ref("All")}},
					Types: map[string]*contract.Type{
						mood.Name: {Kind: contract.KindEnum, Name: mood.Name, Elem: text, Values: []contract.Value{{Name: "Happy", Value: "happy"}}},
					},
				}
				all := &contract.Type{Kind: contract.KindMessage, Name: ref("All").Name, Fields: []contract.Field{
					{Name: "bytes", Number: 1, Wire: "bytes", Type: &contract.Type{Kind: contract.KindBytes}},
					{Name: "byText", Number: 2, Wire: "map:bytes:bytes", Type: &contract.Type{Kind: contract.KindMap, Key: text, Elem: text}},
				}}
				state := &contract.Type{Kind: contract.KindStruct, Name: ref("State").Name, Fields: []contract.Field{
					{Name: "moods", Type: &contract.Type{Kind: contract.KindMap, Key: mood, Elem: text}},
				}}
				c.Types[all.Name], c.Types[state.Name] = all, state
				for name := range strings.FieldsSeq(`Client ClientOptions Routes Rooms ErrorCode RoomClient RoomOf TypedRoom TypedRoomClient
					Record Partial Uint8Array URL MessageCodec Scalar ValueType How FieldDescriptor Writer Reader Number BigInt Map Object
					DataView TextEncoder TextDecoder Math String RangeError Error TypeError Array Promise Date Symbol`) {
					typ := &contract.Type{Kind: kind, Name: ref(name).Name}
					if kind == contract.KindEnum {
						typ.Elem, typ.Values = text, []contract.Value{{Name: "A", Value: "a"}}
					} else {
						typ.Fields = []contract.Field{{Name: "label", Number: 1, Wire: "bytes", Type: text}}
					}
					c.Types[typ.Name] = typ
					c.Routes = append(c.Routes, contract.Route{Route: "Box." + name, Kind: contract.Request, Request: ref(name), Reply: ref(name)})
				}
				compile(t, folder, c, `import { createClient, type All, type State } from './server.js';

const state: State = { moods: { happy: 'x' } };
const url: string = createClient(new URL('ws://localhost')) && state.moods.happy!;
export const all: All = { bytes: new Uint8Array(), byText: { a: url } };
`)
			})
		}
	}
}

const keysProgram = `import assert from 'node:assert/strict';
import { KeysCodec, type Keys } from './server.js';

const keys: Keys = {
  bool: { true: 'a' }, string: { '': 'b', __proto: 'c' }, int32: { '-2147483648': 'd' }, uint32: { '4294967295': 'e' },
  sint32: { '-1': 'f' }, fixed32: { '4294967295': 'g' }, sfixed32: { '-2147483648': 'h' }, int64: { '-9223372036854775808': 'i' },
  uint64: { '18446744073709551615': 'j' }, sint64: { '-1': 'k' }, fixed64: { '18446744073709551615': 'l' }, sfixed64: { '-1': 'm' },
};
assert.deepEqual(KeysCodec.decode(KeysCodec.encode(keys)), keys);
`

// Every type that protobuf allows for the keys of maps is encoded and decoded.
func TestKeysOfMaps(t *testing.T) {
	folder := nodePackages(t)
	text := &contract.Type{Kind: contract.KindString}
	keys := &contract.Type{Kind: contract.KindMessage, Name: "example.org/game.Keys"}
	for i, k := range []struct {
		name, wire string
		key        contract.Type
	}{
		{"bool", "varint", contract.Type{Kind: contract.KindBool}},
		{"string", "bytes", *text},
		{"int32", "varint", contract.Type{Kind: contract.KindInt, Bits: 32}},
		{"uint32", "varint", contract.Type{Kind: contract.KindInt, Bits: 32, Unsigned: true}},
		{"sint32", "zigzag32", contract.Type{Kind: contract.KindInt, Bits: 32}},
		{"fixed32", "fixed32", contract.Type{Kind: contract.KindInt, Bits: 32, Unsigned: true}},
		{"sfixed32", "fixed32", contract.Type{Kind: contract.KindInt, Bits: 32}},
		{"int64", "varint", contract.Type{Kind: contract.KindInt, Bits: 64}},
		{"uint64", "varint", contract.Type{Kind: contract.KindInt, Bits: 64, Unsigned: true}},
		{"sint64", "zigzag64", contract.Type{Kind: contract.KindInt, Bits: 64}},
		{"fixed64", "fixed64", contract.Type{Kind: contract.KindInt, Bits: 64, Unsigned: true}},
		{"sfixed64", "fixed64", contract.Type{Kind: contract.KindInt, Bits: 64}},
	} {
		keys.Fields = append(keys.Fields, contract.Field{
			Name: k.name, Number: i + 1, Wire: "map:" + k.wire + ":bytes", Type: &contract.Type{Kind: contract.KindMap, Key: &k.key, Elem: text},
		})
	}
	dir := compile(t, folder, &contract.Contract{Serializer: "protobuf", Types: map[string]*contract.Type{keys.Name: keys}}, keysProgram)
	execute(t, dir, "node", "out/use.js")
}
