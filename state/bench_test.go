package state

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type benchEntity struct {
	Name string
	X, Y int
}

// BenchmarkTick compares and encodes a map of 100 entities for one view.
func BenchmarkTick(b *testing.B) {
	for _, changed := range []int{0, 1, 50, 100} {
		b.Run(fmt.Sprintf("Map/%d_of_100", changed), func(b *testing.B) {
			var root struct{ Entities Map[uint32, benchEntity] }
			for i := range uint32(100) {
				root.Entities.Put(i, &benchEntity{Name: fmt.Sprint("player", i)})
			}
			benchTicks(b, &root, func() {
				for i := range uint32(changed) {
					e := root.Entities.Get(i)
					e.X++
					e.Y += 2
				}
			})
		})
		b.Run(fmt.Sprintf("map/%d_of_100", changed), func(b *testing.B) {
			root := struct{ Entities map[uint32]*benchEntity }{map[uint32]*benchEntity{}}
			for i := range uint32(100) {
				root.Entities[i] = &benchEntity{Name: fmt.Sprint("player", i)}
			}
			benchTicks(b, &root, func() {
				for i := range uint32(changed) {
					e := root.Entities[i]
					e.X++
					e.Y += 2
				}
			})
		})
	}
	b.Run("Map/100_of_10000", func(b *testing.B) {
		var root struct{ Entities Map[uint32, benchEntity] }
		for i := range uint32(10000) {
			root.Entities.Put(i, &benchEntity{Name: fmt.Sprint("player", i)})
		}
		benchTicks(b, &root, func() {
			for i := uint32(0); i < 10000; i += 100 {
				root.Entities.Get(i).X++
			}
		})
	})
	b.Run("Touch/100_of_10000", func(b *testing.B) {
		var root struct {
			Entities Map[uint32, benchEntity] `state:"touch"`
		}
		for i := range uint32(10000) {
			root.Entities.Put(i, &benchEntity{Name: fmt.Sprint("player", i)})
		}
		benchTicks(b, &root, func() {
			for i := uint32(0); i < 10000; i += 100 {
				root.Entities.Get(i).X++
				root.Entities.Touch(i)
			}
		})
	})
}

func benchTicks[T any](b *testing.B, root *T, change func()) {
	s, err := New(root)
	if err != nil {
		b.Fatal(err)
	}
	v := s.NewView(nil)
	var buf []byte
	tick := uint64(0)
	step := func() {
		change()
		tick++
		if err := s.Tick(tick); err != nil {
			b.Fatal(err)
		}
		buf = v.Append(buf[:0])
	}
	step()
	step()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}

type benchShip struct {
	X, Y  float32 `state:"q=0.1"`
	Angle float32 `state:"turn"`
	HP    uint8
}

// BenchmarkViews flushes 300 views of about 60 entities each.
func BenchmarkViews(b *testing.B) {
	for _, n := range []int{300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var root struct{ Ships Map[uint32, benchShip] }
			r := rand.New(rand.NewPCG(1, 2))
			ships := make([]*benchShip, n)
			for i := range ships {
				ships[i] = &benchShip{X: r.Float32() * 1000, Y: r.Float32() * 1000}
				root.Ships.Put(uint32(i), ships[i])
			}
			s, err := New(&root)
			if err != nil {
				b.Fatal(err)
			}
			views := make([]*View, n)
			for i := range views {
				views[i] = s.NewView(nil)
			}
			tick, bytes := uint64(0), 0
			radius := float32(252) * float32(300) / float32(n)
			var buf []byte
			step := func() {
				for _, e := range ships {
					e.X += r.Float32()*4 - 2
					e.Y += r.Float32()*4 - 2
				}
				tick++
				if err := s.Tick(tick); err != nil {
					b.Fatal(err)
				}
				for i, v := range views {
					v.Near(&root.Ships, ships[i].X, ships[i].Y, radius)
					buf = v.Append(buf[:0])
					bytes += len(buf)
				}
			}
			step()
			step()
			b.ReportAllocs()
			bytes = 0
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/float64(n), "B/view")
		})
	}
}
