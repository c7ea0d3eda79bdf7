package gents_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/gents"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

// wait bounds each program that a test starts.
const wait = 3 * time.Minute

const serve = `
func main() {
	cs := &component.Components{}
	cs.Register(&Box{}, component.WithName("box"), component.WithNameFunc(strings.ToLower))
	srv := nano.New(nano.WithComponents(cs), nano.WithSerializer(SERIALIZER), nano.WithWebSocket("/nano"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	panic(srv.ServeWebSocket(l))
}
`

const jsonProgram = `
package main

import (
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type Color int

const (
	Red Color = iota + 1
	Blue
)

type Mood string

const Happy Mood = "happy" // as can be

type Upper struct{ ID int64 }

type lower struct{ Note string }

type Link struct{ Next *Link }

// Everything has a field of every kind.
// It is sent both ways. */
type Everything struct {
	Upper
	lower
	Name    string ` + "`json:\"name\"`" + `
	Gone    *int   ` + "`json:\",omitempty\"`" + `
	Maybe   string ` + "`json:\",omitempty\"`" + `
	Bytes   []byte
	Nothing []string
	Big     int64
	Quoted  uint64 ` + "`json:\"quoted,string\"`" + `
	Time    time.Time
	Ratio   float32
	Yes     bool
	Color   Color
	Moods   map[Mood][]int32
	ByID    map[int64]*string
	Array   [3]byte
	Inner   struct {
		Deep Upper
		List []Upper
	}
}

func sample() *Everything {
	three := "three"
	e := &Everything{
		Upper: Upper{7}, lower: lower{"embedded"}, Name: "Ann \"quoted\" 世界 \u2028", Bytes: []byte{0, 1, 255}, Big: 1<<53 - 1,
		Quoted: 1<<64 - 1, Time: time.Date(2026, 11, 30, 4, 5, 6, 789e6, time.UTC), Ratio: 0.25, Yes: true, Color: Blue,
		Moods: map[Mood][]int32{Happy: {1, 2}}, ByID: map[int64]*string{-3: &three, 4: nil}, Array: [3]byte{1, 2, 3},
	}
	e.Inner.Deep.ID, e.Inner.List = 1, []Upper{{2}}
	return e
}

// OnEverything is pushed.
var OnEverything = nano.PushRoute[Everything]("onEverything")

type Box struct{ component.Base }

// Echo answers.
func (*Box) Echo(s *session.Session, in *Everything) (*Everything, error) {
	if !reflect.DeepEqual(in, sample()) {
		return nil, nano.Errorf("DIFFERENT", "got %+v", in)
	}
	return sample(), OnEverything.Send(s, sample())
}

func (*Box) Raw(s *session.Session, in []byte) error { return s.Response(in) }

func (*Box) Tell(s *session.Session, in *Link) error { return nil }
` + serve

const protobufProgram = `
package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var OnStruct = nano.PushRoute[structpb.Struct]("onStruct")

type Box struct{ component.Base }

func same[M proto.Message](in, want M) (M, error) {
	if !proto.Equal(in, want) {
		return in, nano.Errorf("DIFFERENT", "got %v, want %v", in, want)
	}
	return want, nil
}

func (*Box) Struct(s *session.Session, in *structpb.Struct) (*structpb.Struct, error) {
	want, err := structpb.NewStruct(map[string]any{
		"nothing": nil, "number": -0.5, "zero": 0, "text": "世界", "no": false, "list": []any{true, map[string]any{}},
		"__proto": "a key like any other",
	})
	if err != nil {
		return nil, err
	}
	if err := OnStruct.Send(s, want); err != nil {
		return nil, err
	}
	return same(in, want)
}

func (*Box) Type(s *session.Session, in *typepb.Type) (*typepb.Type, error) {
	return same(in, &typepb.Type{
		Name: "game.Player",
		Fields: []*typepb.Field{{
			Kind: typepb.Field_TYPE_STRING, Cardinality: typepb.Field_CARDINALITY_OPTIONAL, Number: -1 << 31, Name: "id", Packed: true,
			Options: []*typepb.Option{{Name: "o", Value: &anypb.Any{TypeUrl: "type", Value: []byte{0, 127, 128, 255}}}},
		}},
		Oneofs: []string{"a", ""}, SourceContext: &sourcecontextpb.SourceContext{FileName: "f"}, Syntax: typepb.Syntax_SYNTAX_PROTO3,
	})
}

func (*Box) Location(s *session.Session, in *descriptorpb.SourceCodeInfo_Location) (*descriptorpb.SourceCodeInfo_Location, error) {
	return same(in, &descriptorpb.SourceCodeInfo_Location{
		Path: []int32{1, 300, -1}, LeadingComments: proto.String(""), LeadingDetachedComments: []string{"x"},
	})
}

func (*Box) Time(s *session.Session, in *timestamppb.Timestamp) (*timestamppb.Timestamp, error) { return in, nil }

func (*Box) Number(s *session.Session, in *wrapperspb.UInt64Value) (*wrapperspb.UInt64Value, error) { return in, nil }

func (*Box) Float(s *session.Session, in *wrapperspb.FloatValue) (*wrapperspb.FloatValue, error) { return in, nil }

func (*Box) Raw(s *session.Session, in []byte) error { return s.Response(in) }

// Inn is a room whose payloads are messages.
type Inn struct{ room.Base[struct{ Opened int64; Guest string }] }

var OnNoise = nano.PushRoute[wrapperspb.StringValue]("onNoise")

func (i *Inn) OnCreate(at *timestamppb.Timestamp) { i.State.Opened = at.Seconds }

func (i *Inn) OnJoin(_ *room.Player, name *wrapperspb.StringValue) (*structpb.Value, error) {
	if name.Value == "" {
		return nil, nano.Errorf("NAMELESS", "no name")
	}
	i.State.Guest = name.Value
	return structpb.NewStringValue("hello " + name.Value), nil
}

func (i *Inn) Rename(_ *room.Player, name *wrapperspb.StringValue) { i.State.Guest = name.Value }

// Ask is answered after a push.
func (i *Inn) Ask(p *room.Player, n *wrapperspb.UInt64Value) (*timestamppb.Timestamp, error) {
	return &timestamppb.Timestamp{Seconds: int64(n.Value)}, OnNoise.Send(p.Session(), wrapperspb.String("psst"))
}

func (i *Inn) Sign(_ *room.Player, n *wrapperspb.UInt64Value) ([]byte, error) { return []byte{0, byte(n.Value)}, nil }

func (i *Inn) Shut(_ *room.Player, reason *wrapperspb.StringValue) { i.Close(reason.Value) }

var inns = room.Define[Inn]("inn")
` + serve

// install runs npm once.
var install sync.Once

// nodePackages installs the npm packages of the tests, and returns their folder.
func nodePackages(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("installs npm packages")
	}
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("NANO_REQUIRE_NODE") != "" {
				t.Fatalf("no %s on PATH, and NANO_REQUIRE_NODE is set", name)
			}
			t.Skipf("no %s on PATH", name)
		}
	}
	folder, err := filepath.Abs("test")
	if err != nil {
		t.Fatal(err)
	}
	install.Do(func() { execute(t, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") })
	return folder
}

func TestRoundTrip(t *testing.T) {
	folder := nodePackages(t)
	for _, c := range []struct{ name, program string }{
		{"json", strings.Replace(jsonProgram, "SERIALIZER", "json.NewSerializer()", 1)},
		{"rooms", roomsProgram},
		{"protobuf", strings.NewReplacer(
			"SERIALIZER", "protobuf.NewSerializer()", "nano.New(", "nano.New(inns.Option(), ",
		).Replace(protobufProgram)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := programtest.Write(t, map[string]string{"main.go": c.program})
			k, err := contract.Load(t.Context(), dir, ".")
			if err != nil {
				t.Fatal(err)
			}
			source, err := gents.Generate(k)
			if err != nil {
				t.Fatal(err)
			}
			again, err := gents.Generate(k)
			if err != nil || source != again {
				t.Errorf("a second run of Generate makes other text (%v)", err)
			}
			ts := moduleFolder(t, folder, c.name+".ts")
			write(t, filepath.Join(ts, "server.ts"), []byte(source))
			execute(t, ts, "node_modules/.bin/tsc", "-p", ".")
			execute(t, ts, "node", "out/"+c.name+".js", "ws://"+start(t, dir)+"/nano")
		})
	}
}

// moduleFolder returns a new directory with the packages and the settings of the folder, and more of its files.
func moduleFolder(t *testing.T, folder string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(folder, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "package.json", "tsconfig.json") {
		data, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, file), data)
	}
	return dir
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// execute runs a program in a directory.
func execute(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// start builds and runs the server in a directory, and returns its address.
func start(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "server")
	execute(t, dir, "go", "build", "-o", bin, ".")
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	cmd := exec.CommandContext(ctx, bin)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it is killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server prints no address: %v", err)
	}
	return strings.TrimSpace(line)
}
