package state_test

import (
	"fmt"

	"github.com/lonng/nano/state"
)

type PlayerID uint32

type Frog struct {
	Name string
	X    float64 `state:"q=0.1"`
	Hand []uint8 `state:"owner"`
}

type Pond struct {
	Frogs state.Map[PlayerID, Frog]
}

func Example() {
	pond := &Pond{}
	pond.Frogs.Put(1, &Frog{Name: "Ann", Hand: []uint8{5, 6}})
	pond.Frogs.Put(2, &Frog{Name: "Bob", Hand: []uint8{7}})
	sync, err := state.New(pond, state.Owner[PlayerID]())
	if err != nil {
		fmt.Println(err)
		return
	}
	ann := sync.NewView(PlayerID(1))
	client, err := state.NewDecoder(sync.Schema().JSON)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tick := range uint64(3) {
		if err := sync.Tick(tick + 1); err != nil {
			fmt.Println(err)
		}
		msg := ann.Append(nil)
		if err := client.Decode(msg); err != nil {
			fmt.Println(err)
		}
		fmt.Println(len(msg), "bytes:", client.State()["frogs"])
		pond.Frogs.Get(2).X += 0.5
	}
	// Output:
	// 27 bytes: map[1:map[hand:[5 6] name:Ann x:0] 2:map[hand:[] name:Bob x:0]]
	// 5 bytes: map[1:map[hand:[5 6] name:Ann x:0] 2:map[hand:[] name:Bob x:0.5]]
	// 5 bytes: map[1:map[hand:[5 6] name:Ann x:0] 2:map[hand:[] name:Bob x:1]]
}

func ExampleView_Near() {
	type Ship struct{ X, Y float32 }
	var space struct{ Ships state.Map[int, Ship] }
	for i := range 5 {
		space.Ships.Put(i, &Ship{X: float32(i * 10)})
	}
	sync, err := state.New(&space)
	if err != nil {
		fmt.Println(err)
		return
	}
	view := sync.NewView(nil)
	client, err := state.NewDecoder(sync.Schema().JSON)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sync.Tick(1); err != nil {
		fmt.Println(err)
	}
	view.Near(&space.Ships, 20, 0, 12)
	if err := client.Decode(view.Append(nil)); err != nil {
		fmt.Println(err)
	}
	fmt.Println(client.State()["ships"])
	// Output: map[1:map[x:10 y:0] 2:map[x:20 y:0] 3:map[x:30 y:0]]
}

// Another process continues with the exact values of a state.
func ExampleSync_Save() {
	pond := &Pond{}
	pond.Frogs.Put(1, &Frog{Name: "Ann", X: 0.123})
	sync, err := state.New(pond, state.Owner[PlayerID]())
	if err != nil {
		fmt.Println(err)
		return
	}
	data := sync.Save()

	other := &Pond{}
	sync, err = state.New(other, state.Owner[PlayerID]())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := sync.Load(data); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*other.Frogs.Get(1))
	// Output: {Ann 0.123 []}
}
