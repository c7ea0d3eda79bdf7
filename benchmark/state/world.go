package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/lonng/nano/state"
)

// These are the entities of the cases. Keys are text, as in @colyseus/schema.
type (
	intEntity struct {
		Name string
		X, Y int
	}
	byteEntity struct {
		Name string
		X, Y uint8
	}
	exactEntity struct {
		Name string
		X, Y float32
	}
	stepEntity struct {
		Name string
		X, Y float32 `state:"q=0.1"`
	}
)

// world is the state of a case. set moves an entity.
type world struct {
	sync *state.Sync
	root any // the map that views select from
	set  func(i int, x, y float64)
	tick uint64
	next func() float64
	at   [][2]float64
	home [][2]float64
	buf  []byte
}

// random is the random number generator of both languages.
func random(seed uint32) func() float64 {
	return func() float64 {
		seed = seed*1664525 + 1013904223
		return float64(seed) / (1 << 32)
	}
}

func newWorld(s spec) (*world, error) {
	w := &world{next: random(1)}
	name := func(i int) string { return fmt.Sprint("player ", i) }
	var err error
	switch s.Type {
	case "int":
		var root struct{ Players state.Map[string, intEntity] }
		err = typed(w, s, &root, &root.Players,
			func(i int) *intEntity { return &intEntity{Name: name(i)} },
			func(e *intEntity, x, y float64) { e.X, e.Y = int(x), int(y) })
	case "uint8":
		var root struct{ Players state.Map[string, byteEntity] }
		err = typed(w, s, &root, &root.Players,
			func(i int) *byteEntity { return &byteEntity{Name: name(i)} },
			func(e *byteEntity, x, y float64) { e.X, e.Y = uint8(x), uint8(y) })
	case "exact":
		var root struct {
			Players state.Map[string, exactEntity]
		}
		err = typed(w, s, &root, &root.Players,
			func(i int) *exactEntity { return &exactEntity{Name: name(i)} },
			func(e *exactEntity, x, y float64) { e.X, e.Y = float32(x), float32(y) })
	case "q":
		var root struct{ Players state.Map[string, stepEntity] }
		err = typed(w, s, &root, &root.Players,
			func(i int) *stepEntity { return &stepEntity{Name: name(i)} },
			func(e *stepEntity, x, y float64) { e.X, e.Y = float32(x), float32(y) })
	case "touch":
		var root struct {
			Players state.Map[string, intEntity] `state:"touch"`
		}
		err = typed(w, s, &root, &root.Players,
			func(i int) *intEntity { return &intEntity{Name: name(i)} },
			func(e *intEntity, x, y float64) { e.X, e.Y = int(x), int(y) })
		keys := make([]string, s.Entities)
		for i := range keys {
			keys[i] = strconv.Itoa(i)
		}
		set := w.set
		w.set = func(i int, x, y float64) {
			set(i, x, y)
			root.Players.Touch(keys[i])
		}
	case "plain":
		root := struct{ Players map[string]*intEntity }{map[string]*intEntity{}}
		list := make([]*intEntity, s.Entities)
		for i := range list {
			list[i] = &intEntity{Name: name(i)}
			root.Players[strconv.Itoa(i)] = list[i]
		}
		w.sync, err = state.New(&root)
		w.root = &root.Players
		w.set = func(i int, x, y float64) { list[i].X, list[i].Y = int(x), int(y) }
	default:
		err = fmt.Errorf("no entity of type %q", s.Type)
	}
	return w, err
}

// typed fills a world with a Map.
func typed[R, T any](w *world, s spec, root *R, m *state.Map[string, T], fresh func(i int) *T, set func(e *T, x, y float64)) (err error) {
	list := make([]*T, s.Entities)
	for i := range list {
		list[i] = fresh(i)
		m.Put(strconv.Itoa(i), list[i])
	}
	w.sync, err = state.New(root)
	w.root = m
	w.set = func(i int, x, y float64) { set(list[i], x, y) }
	return err
}

// jump moves the entities from..to to random positions.
func (w *world) jump(s spec, from, to int) {
	for i := from; i < to; i++ {
		x := math.Floor(w.next() * s.Range)
		w.set(i, x, math.Floor(w.next()*s.Range))
	}
}

// walk moves each entity a short distance.
func (w *world) walk(s spec) {
	if w.at == nil {
		for range s.Entities {
			x := w.next() * s.Range
			w.at = append(w.at, [2]float64{x, w.next() * s.Range})
		}
		w.home = append(w.home, w.at...)
	}
	for i := range w.at {
		for axis := range 2 {
			step := (w.next()*2 - 1) * s.Speed
			v := w.at[i][axis] + step
			if s.Still {
				v = w.home[i][axis] + step/50
			}
			w.at[i][axis] = min(s.Range, max(0, v))
		}
		w.set(i, math.Round(w.at[i][0]*100)/100, math.Round(w.at[i][1]*100)/100)
	}
}

func (w *world) flush() error {
	w.tick++
	return w.sync.Tick(w.tick)
}

// result is the output of a process. The case determines which fields it has.
type result struct {
	Bytes       float64 `json:"bytes"`
	Visible     float64 `json:"visible"`
	NS          float64 `json:"ns"`
	Calibration float64 `json:"calibration"`
	Allocs      float64 `json:"allocs"`
}

// run runs a case with package state.
func run(s spec) (result, error) {
	w, err := newWorld(s)
	if err != nil {
		return result{}, err
	}
	switch s.Kind {
	case initialBytes:
		w.jump(s, 0, s.Entities)
		err := w.flush()
		return result{Bytes: float64(len(w.sync.NewView(nil).Append(nil)))}, err
	case patchBytes, encode:
		return w.patches(s)
	case ticks:
		return w.ticks(s)
	case viewBytes, views:
		return w.views(s)
	}
	return result{}, fmt.Errorf("no case of kind %q", s.Kind)
}

func (w *world) patches(s spec) (r result, err error) {
	w.jump(s, 0, s.Entities)
	view := w.sync.NewView(nil)
	if err := w.flush(); err != nil {
		return r, err
	}
	messages := []string{w.sync.Schema().JSON}
	messages = append(messages, base64.StdEncoding.EncodeToString(view.Append(nil)))
	rounds := 20
	switch {
	case s.Kind == encode:
		rounds = s.Messages
	case s.Changed == 1:
		rounds = s.Entities
	}
	for i := range rounds {
		from := 0
		if s.Changed == 1 {
			from = i
		}
		w.jump(s, from, from+s.Changed)
		if err := w.flush(); err != nil {
			return r, err
		}
		msg := view.Append(nil)
		r.Bytes += float64(len(msg)) / float64(rounds)
		messages = append(messages, base64.StdEncoding.EncodeToString(msg))
	}
	if s.Kind != encode {
		return r, nil
	}
	text, err := json.Marshal(messages)
	if err != nil {
		return r, err
	}
	return r, os.WriteFile(s.File, text, 0o600)
}

func (w *world) ticks(s spec) (result, error) {
	view := w.sync.NewView(nil)
	stride := s.Entities / max(1, s.Changed)
	// The positions are computed first, so the generator is not measured.
	numbers := make([]float64, 1<<12)
	next := random(2)
	for i := range numbers {
		numbers[i] = math.Floor(next() * s.Range)
	}
	at := 0
	return measure(s, func() error {
		for i := range s.Changed {
			w.set(i*stride, numbers[at&(1<<12-1)], numbers[(at+1)&(1<<12-1)])
			at += 2
		}
		if err := w.flush(); err != nil {
			return err
		}
		w.buf = view.Append(w.buf[:0])
		return nil
	})
}

func (w *world) views(s spec) (r result, err error) {
	list := make([]*state.View, s.Entities)
	for i := range list {
		list[i] = w.sync.NewView(nil)
	}
	bytes := 0
	tick := func() error {
		w.walk(s)
		if err := w.flush(); err != nil {
			return err
		}
		for i, v := range list {
			v.Near(w.root, float32(w.at[i][0]), float32(w.at[i][1]), float32(s.Radius))
			w.buf = v.Append(w.buf[:0])
			bytes += len(w.buf)
		}
		return nil
	}
	if err := tick(); err != nil {
		return r, err
	}
	if s.Kind == viewBytes {
		bytes = 0
		for range 20 {
			if err := tick(); err != nil {
				return r, err
			}
		}
		return result{Bytes: float64(bytes) / 20 / float64(len(list))}, nil
	}
	return measure(s, tick)
}
