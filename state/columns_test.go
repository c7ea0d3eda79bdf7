package state

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// token has a field of each kind that a column holds, at several levels.
type token struct {
	Bool    bool
	Int     int
	Int8    int8
	Int16   int16
	Int32   int32
	Int64   int64
	Uint    uint
	Uint8   uint8
	Uint16  uint16 `state:"level=1"`
	Uint32  uint32
	Uint64  uint64
	Mood    mood    `state:"enum=calm|angry|sad"`
	Big     int64   `state:"big"`
	Ubig    uint64  `state:"big,level=2"`
	Single  float32 `state:"level=1"`
	Double  float64
	Step    float32 `state:"q=0.1"`
	Fine    float64 `state:"q=0.001"`
	Turn    float32 `state:"turn"`
	Name    string
	Private string `state:"level=2"`
	Inner   struct{ X, Y int32 }
}

// pebble has no levels.
type pebble struct {
	X, Y int
	Name string
	Mood mood `state:"enum=calm|angry|sad"`
}

// TestColumns changes a part of the entries in each tick. The messages are those of a map
// that reflect reads.
func TestColumns(t *testing.T) {
	t.Run("levels", func(t *testing.T) { testColumns[token](t, 300, 400) })
	t.Run("no levels", func(t *testing.T) { testColumns[pebble](t, 300, 400) })
	t.Run("more entries than columns", func(t *testing.T) { testColumns[pebble](t, maxBound+200, 8) })
}

func testColumns[T any](t *testing.T, entries int, ticks uint64) {
	var typed struct{ M Map[int, T] }
	var touched struct {
		M Map[int, T] `state:"touch"`
	}
	plain := struct{ M map[int]*T }{map[int]*T{}}
	slow := struct{ M map[int]*T }{plain.M}
	all := []*Sync{mustNew(t, &typed), mustNew(t, &touched), mustNew(t, &plain), mustNew(t, &slow)}
	last := len(all) - 1
	all[last].regions[0].m.plain.cols = nil
	views := make([][]*View, len(all))
	for i, s := range all {
		for level := range 3 {
			v := s.NewView(nil)
			v.Level(level)
			views[i] = append(views[i], v)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for tick := range ticks {
		share := []float64{0, 0.01, 0.05, 0.2, 0.5, 1}[r.IntN(6)]
		if tick == 0 {
			share = 1
		}
		for k := range entries {
			e := plain.M[k]
			switch {
			case r.Float64() >= share:
				continue
			case e == nil || r.IntN(40) == 0: // new, or another struct
				e = new(T)
				plain.M[k] = e
				typed.M.Put(k, e)
				touched.M.Put(k, e)
			case r.IntN(40) == 0:
				delete(plain.M, k)
				typed.M.Delete(k)
				touched.M.Delete(k)
				continue
			}
			v := reflect.ValueOf(e).Elem()
			for range 1 + r.IntN(3) {
				scramble(r, v.Field(r.IntN(v.NumField())))
			}
			touched.M.Touch(k)
		}
		var errs []string
		for i, s := range all {
			errs = append(errs, fmt.Sprint(s.Tick(tick)))
			if tick%7 == 3 {
				views[i][1].Reset()
			}
		}
		if errs[last-1] != errs[last] { // a Map reports an error only when the entry changes
			t.Fatalf("tick %d: Tick = %s, want %s", tick, errs[last-1], errs[last])
		}
		for level := range 3 {
			want := views[last][level].Append(nil)
			for i := range last {
				if got := views[i][level].Append(nil); !bytes.Equal(got, want) {
					t.Fatalf("tick %d: Append of state %d at level %d = %x, want %x", tick, i, level, got, want)
				}
			}
		}
	}
}

// scramble sets v to a random value, seldom to one that cannot be sent.
func scramble(r *rand.Rand, v reflect.Value) {
	wide := r.Uint64() >> r.IntN(64)
	if r.IntN(200) > 0 {
		wide >>= 12
	}
	switch {
	case v.Kind() == reflect.Struct:
		scramble(r, v.Field(r.IntN(v.NumField())))
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint(wide)[:1+r.IntN(1+len(fmt.Sprint(wide))/2)])
	case v.Type() == reflect.TypeFor[mood]():
		v.SetUint([]uint64{0, 1, 2, 2, 2, 3}[r.IntN(6)])
	case v.CanInt():
		v.SetInt(int64(wide) * int64(1-2*r.IntN(2)))
	case v.CanUint():
		v.SetUint(wide)
	default:
		v.SetFloat([]float64{
			0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e300,
			r.Float64() * 10, r.Float64() * 1000, r.NormFloat64(), float64(r.IntN(100)),
		}[r.IntN(10)])
	}
}
