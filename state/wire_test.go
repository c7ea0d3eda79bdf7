package state

import (
	"fmt"
	"math"
	"reflect"
	"testing"
)

func TestNum(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want string
	}{
		{0, "00"}, {127, "7f"}, {128, "8080"}, {16383, "bfff"}, {16384, "f000008046"}, {-1, "c0"}, {-32, "df"},
		{-33, "e020"}, {-4096, "efff"}, {-4097, "f0000880c5"}, {0.5, "f00000003f"}, {math.Inf(1), "f00000807f"},
		{0.1, "f19a9999999999b93f"}, {1e300, "f19c7500883ce4377e"},
	} {
		b := appendNum(nil, c.x)
		if got := fmt.Sprintf("%x", b); got != c.want {
			t.Errorf("appendNum(%v) = %s, want %s", c.x, got, c.want)
		}
		if got := (&reader{b: b}).num(); got != c.x {
			t.Errorf("num(%x) = %v, want %v", b, got, c.x)
		}
	}
	if got := (&reader{b: appendNum(nil, math.NaN())}).num(); got == got {
		t.Errorf("num of NaN = %v", got)
	}
	if r := (&reader{b: []byte{0xf2, 0, 0, 0, 0}}); r.num() != 0 && !r.bad {
		t.Error("num(f2) is not an error")
	}
}

func TestRead(t *testing.T) {
	q, turn := &value{kind: kindQ, scale: 10}, &value{kind: kindTurn, scale: 4096}
	num := &value{kind: kindNum}
	for _, c := range []struct {
		v    *value
		in   float64
		want float64
	}{
		{q, 0.14, 0.1}, {q, -0.16, -0.2}, {q, math.NaN(), 0}, {q, math.Inf(1), maxInt / 10.0}, {q, math.Inf(-1), -maxInt / 10.0},
		{q, math.Copysign(0, -1), 0}, {turn, 0, 0}, {turn, math.Pi, -math.Pi}, {turn, -math.Pi, -math.Pi},
		{turn, 5 * math.Pi, -math.Pi}, {turn, math.Pi / 2, math.Pi / 2}, {turn, -7 * math.Pi / 2, math.Pi / 2},
		{turn, math.NaN(), 0}, {turn, math.Inf(1), 0}, {turn, 2*math.Pi - 1e-9, 0},
		{num, math.Inf(-1), math.Inf(-1)}, {num, math.MaxFloat64, math.MaxFloat64},
	} {
		n, ok := c.v.read(reflect.ValueOf(c.in), 0)
		if got := c.v.float(n); !ok || got != c.want {
			t.Errorf("%s of %v = %v, %v, want %v", kindNames[c.v.kind], c.in, got, ok, c.want)
		}
	}
	if n, _ := num.read(reflect.ValueOf(math.Copysign(0, -1)), 7); n != 0 {
		t.Errorf("-0 has the slot %x, want 0", n)
	}
	if a, _ := num.read(reflect.ValueOf(math.Float64frombits(0x7ff8000000000001)), 0); a != canonicalNaN {
		t.Errorf("a NaN has the slot %x", a)
	}
}

func TestSnap(t *testing.T) {
	type ship struct {
		X     float64   `state:"q=0.1,snap"`
		Y     float32   `state:"q=0.1,snap"`
		Angle float64   `state:"turn=8,snap"`
		Path  []float64 `state:"q=0.5,snap"`
		Free  float64   `state:"q=0.1"`
	}
	var root struct{ Ships Map[int, ship] }
	s := &ship{X: 1.234, Y: 1.234, Angle: 7, Path: []float64{0.3}, Free: 1.234}
	root.Ships.Put(1, s)
	mustTick(t, mustNew(t, &root))
	want := ship{X: 1.2, Y: 1.2, Angle: math.Pi / 4, Path: []float64{0.5}, Free: 1.234}
	if !reflect.DeepEqual(*s, want) {
		t.Errorf("after Tick: %+v, want %+v", *s, want)
	}
}

func TestInsertUint(t *testing.T) {
	for _, x := range []uint64{0, 127, 128, 1 << 35, math.MaxUint64} {
		b := insertUint([]byte("abcd"), 2, x)
		want := append(appendUint([]byte("ab"), x), "cd"...)
		if string(b) != string(want) {
			t.Errorf("insertUint(abcd, 2, %d) = %x, want %x", x, b, want)
		}
		if r := (&reader{b: b[2:]}); r.uint() != x || r.bad {
			t.Errorf("uint(%x) is not %d", b[2:], x)
		}
	}
	if r := (&reader{b: []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")}); r.uint() != 0 || !r.bad {
		t.Error("a varint of 65 bits is not an error")
	}
}
