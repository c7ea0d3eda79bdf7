// Package state sends the state of a game to its clients: plain Go structs, compared once a
// tick with what was sent.
//
// The program changes its structs directly. There are no setters and no generated code:
//
//	type Frog struct {
//		Name string
//		X, Y float32 `state:"q=0.1"`
//		Hand []uint8 `state:"owner"`
//		path []point // not exported: never sent
//	}
//	type Pond struct {
//		Round int
//		Frogs state.Map[PlayerID, Frog]
//	}
//
//	pond := &Pond{}
//	sync, err := state.New(pond, state.Owner[PlayerID]())
//	view := sync.NewView(PlayerID(7)) // one for each client
//	...
//	err = sync.Tick(tick)     // once a tick
//	msg = view.Append(msg[:0]) // then the message for each client; empty if there is nothing to say
//
// A view's first message is a snapshot, the others are patches. A view that misses a tick, or
// on which [View.Reset] is called, sends a snapshot next.
//
// # Types
//
// Exported fields are sent under their lowerCamel name (HPMax is hpMax). A field is one of
//
//   - a bool, an integer, a float or a string
//   - a struct, whose fields belong to the struct around it; those of an embedded struct are
//     promoted
//   - a pointer to a struct, which may be nil
//   - a slice or an array of scalars, of structs or of pointers to structs
//   - a map with string or integer keys of scalars or of pointers to structs
//   - a [Map], which is compared faster and is read in the order of its keys
//
// A struct has at most 64 fields, those of structs within it included. Structs are at most 8
// deep, and a map has at most 2^20 entries. Floats are exact; -0 is sent as 0.
//
// # Tags
//
// The tag `state:"..."` holds a comma-separated list:
//
//	q=0.1      a float in steps of 0.1. NaN is sent as 0, and the range is 2^52 steps
//	turn       a float in radians that wraps, in 4096 steps from -pi; turn=256 sets the steps
//	snap       with q or turn: Tick writes the rounded value back into the field
//	owner      only the owner of the entry sees the field; in a map of the root, see Owner
//	level=n    only views of level n or above see the field, 1 to 15; see View.Level and View.Show
//	enum=a|b   an integer that clients see as a text
//	big        an integer of 64 bits that may exceed 2^52; JavaScript sees a BigInt
//	name=x     the name that clients see
//	touch      of a Map: Tick compares only the entries that Map.Touch or Map.Put names
//	history    of a Map of the root: it keeps the latest ticks for Map.At
//	-          the field is not sent
//
// Tags on a list or a map of scalars are about its items. Levels belong to fields of the root
// and of the entries of its maps; a field within those inherits the level.
//
// docs/state.md describes the bytes, and clients/js/state.js reads them.
package state
