package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lonng/nano/state"
)

// A shot that was aimed at tick 1 is tested against tick 1.
func ExampleMap_At() {
	type Duck struct{ X float64 }
	var pond struct {
		Ducks state.Map[int, Duck] `state:"history"`
	}
	pond.Ducks.Put(7, &Duck{X: 10})
	sync, err := state.New(&pond)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tick := range uint64(5) {
		if err := sync.Tick(tick + 1); err != nil {
			fmt.Println(err)
		}
		pond.Ducks.Get(7).X += 5
	}
	past := pond.Ducks.At(1)
	duck, ok := past.Get(7)
	fmt.Println(past.Tick(), duck.X, ok)
	fmt.Println(pond.Ducks.Get(7).X)
	// Output:
	// 1 10 true
	// 35
}

func ExampleReplay() {
	var match struct{ Score int }
	sync, err := state.New(&match)
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	recorder, err := state.NewRecorder(&file, sync, map[string]string{"match": "final"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for tick := range 3 {
		match.Score += 10
		if err := errors.Join(sync.Tick(uint64(tick)+1), recorder.Record(time.Duration(tick)*time.Second)); err != nil {
			fmt.Println(err)
		}
	}
	if err := recorder.Close(); err != nil {
		fmt.Println(err)
	}

	replay, err := state.NewReplay(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(replay.Meta()["match"])
	for err = replay.Next(); err == nil; err = replay.Next() {
		fmt.Println(replay.At(), replay.Tick(), replay.State())
	}
	fmt.Println(errors.Is(err, io.EOF))
	// Output:
	// final
	// 0s 1 map[score:10]
	// 1s 2 map[score:20]
	// 2s 3 map[score:30]
	// true
}

// A viewer of a recording shows a time in the middle.
func ExampleReplay_Seek() {
	var match struct{ Score int }
	sync, err := state.New(&match)
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	recorder, err := state.NewRecorder(&file, sync, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tick := range 60 {
		match.Score += 10
		if err := errors.Join(sync.Tick(uint64(tick)+1), recorder.Record(time.Duration(tick)*time.Second)); err != nil {
			fmt.Println(err)
		}
	}
	if err := recorder.Close(); err != nil {
		fmt.Println(err)
	}

	replay, err := state.NewReplay(bytes.NewReader(file.Bytes()))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = replay.Seek(42)
	fmt.Println(replay.At(), replay.Tick(), replay.State(), err)
	err = replay.SeekTime(7500 * time.Millisecond)
	fmt.Println(replay.At(), replay.Tick(), replay.State(), err)
	err = replay.Next()
	fmt.Println(replay.At(), replay.Tick(), replay.State(), err)
	// Output:
	// 41s 42 map[score:420] <nil>
	// 7s 8 map[score:80] <nil>
	// 8s 9 map[score:90] <nil>
}
