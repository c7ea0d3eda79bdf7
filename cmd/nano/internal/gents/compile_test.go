package gents_test

import (
	"path/filepath"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/gents"
)

// compile compiles a generated client strictly. more is the text of a module that uses it.
func compile(t *testing.T, folder string, c *contract.Contract, more string) {
	t.Helper()
	source, err := gents.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	dir := moduleFolder(t, folder)
	write(t, filepath.Join(dir, "server.ts"), []byte(source))
	write(t, filepath.Join(dir, "use.ts"), []byte(more))
	execute(t, dir, "node_modules/.bin/tsc", "-p", ".", "--noEmit")
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
