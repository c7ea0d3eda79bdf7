package lifecycle_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// furnace is a component whose handlers use the processor.
type furnace struct{ component.Base }

// burn uses the processor for a while.
func burn() {
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
	}
}

func (*furnace) Slow(*session.Session, []byte) error {
	burn()
	burn()
	return nil
}

func (*furnace) Fast(*session.Session, []byte) error { burn(); return nil }

// exits is a component whose handlers end in unusual ways.
type exits struct {
	component.Base
	look func()
}

func (*exits) Panic(*session.Session, []byte) error { panic("planted") }

func (*exits) Goexit(*session.Session, []byte) error {
	runtime.Goexit()
	return nil
}

func (e *exits) Look(s *session.Session, _ []byte) error {
	e.look()
	return s.Response([]byte{})
}

// forge is a room with a handler that uses the processor.
type forge struct{ room.Base[struct{ N int }] }

type strike struct{}

func (*forge) Strike(*room.Player, *strike) error { burn(); return nil }

// TestProfileByRoute checks that a CPU profile has the routes of handlers as labels, also
// those of a room with a scheduler of its own.
func TestProfileByRoute(t *testing.T) {
	components := &component.Components{}
	components.Register(&furnace{}, component.WithName("Furnace"))
	forges := room.Define[forge]("forge", room.Schedulers(1))
	srv := nanotest.Start(t, nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()), forges.Option())
	p := srv.Connect(t)
	if _, err := croom.JoinOrCreate(t.Context(), p.Client, "forge", nil, nil); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		var profile bytes.Buffer
		if err := pprof.StartCPUProfile(&profile); err != nil {
			t.Fatal(err)
		}
		for _, route := range []string{"Furnace.Slow", "Furnace.Fast", "forge.Strike"} {
			if err := p.Notify(route, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Request(t.Context(), "forge.Strike", strike{}, nil); err != nil { // behind the notifies
			t.Fatal(err)
		}
		pprof.StopCPUProfile()
		got := routeLabels(t, &profile)
		names := slices.Sorted(maps.Keys(got))
		if slices.Equal(names, []string{"Furnace.Fast", "Furnace.Slow", "forge.Strike"}) {
			return
		}
		if try == 20 { // the profiler takes 100 samples of a second of processor time
			t.Fatalf("the profile has samples of %v, want those of the three handlers", got)
		}
	}
}

// TestLabelEnds checks that the label of a handler does not stay when the handler has
// returned, panicked or ended its goroutine.
func TestLabelEnds(t *testing.T) {
	components := &component.Components{}
	components.Register(&furnace{}, component.WithName("Furnace"))
	e := &exits{}
	components.Register(e, component.WithName("Exits"))
	srv := nanotest.Start(t, nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()))
	p := srv.Connect(t)
	for _, route := range []string{"Furnace.Fast", "Exits.Panic", "Exits.Goexit"} {
		if err := p.Notify(route, nil); err != nil {
			t.Fatal(err)
		}
		_ = p.Request(t.Context(), "Exits.None", nil, nil) // its answer comes behind the notify
		var goroutines bytes.Buffer
		srv.Do(func() { _ = pprof.Lookup("goroutine").WriteTo(&goroutines, 1) })
		if strings.Contains(goroutines.String(), `"route"`) {
			t.Errorf("after %s, a goroutine has the label still:\n%s", route, goroutines.String())
		}
	}
	var inside bytes.Buffer
	e.look = func() { _ = pprof.Lookup("goroutine").WriteTo(&inside, 1) }
	if err := p.Request(t.Context(), "Exits.Look", nil, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(inside.String(), `labels: {"route":"Exits.Look"}`) {
		t.Errorf("inside of a handler, no goroutine has its label:\n%s", inside.String())
	}
}

// routeLabels returns how many samples of a profile have each value of the label route. The
// messages are those of profile.proto of github.com/google/pprof.
func routeLabels(t *testing.T, profile io.Reader) map[string]int {
	t.Helper()
	z, err := gzip.NewReader(profile)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	var labels [][2]uint64 // the indexes of key and value
	fields(t, data, func(field protowire.Number, value []byte, _ uint64) {
		switch field {
		case 2: // sample
			fields(t, value, func(field protowire.Number, value []byte, _ uint64) {
				if field != 3 { // label
					return
				}
				var label [2]uint64
				fields(t, value, func(field protowire.Number, _ []byte, n uint64) {
					if field <= 2 { // key, str
						label[field-1] = n
					}
				})
				labels = append(labels, label)
			})
		case 6: // string_table
			texts = append(texts, string(value))
		}
	})
	found := map[string]int{}
	for _, l := range labels {
		if texts[l[0]] == "route" {
			found[texts[l[1]]]++
		}
	}
	return found
}

// fields calls f for each field of a protobuf message, with its bytes or its number.
func fields(t *testing.T, message []byte, f func(field protowire.Number, value []byte, n uint64)) {
	t.Helper()
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		message = message[size:]
		var value []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(message)
		default:
			size = protowire.ConsumeFieldValue(field, kind, message)
		}
		if size < 0 {
			t.Fatal(protowire.ParseError(size))
		}
		f(field, value, n)
		message = message[size:]
	}
}
