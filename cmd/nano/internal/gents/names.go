package gents

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

// reserved are the names that every generated module declares, imports or takes from JavaScript.
const reserved = `Client ClientOptions Routes Rooms ErrorCode RoomClient RoomOf TypedRoom TypedRoomClient
	Record Partial Uint8Array URL`

// reservedByRuntime are the names that protobuf.ts declares or takes from JavaScript.
const reservedByRuntime = `MessageCodec Scalar ValueType How FieldDescriptor Writer Reader
	Number BigInt Map Object DataView Math String TextEncoder TextDecoder Error TypeError RangeError`

// names gives every named type a unique name. It is the name of the type, with the
// package as a prefix if several types share it. A type of a room's state that is a
// payload too ends with State.
func names(c *contract.Contract) map[string]string {
	made := map[string]string{}
	count := map[string]int{}
	for name := range c.Types {
		if !strings.HasSuffix(name, contract.StateSuffix) {
			count[identifier(name, false)]++
		}
	}
	used := map[string]bool{}
	for name := range strings.FieldsSeq(reserved) {
		used[name] = true
	}
	if c.Serializer == "protobuf" {
		for name := range strings.FieldsSeq(reservedByRuntime) {
			used[name] = true
		}
	}
	sorted := slices.SortedFunc(maps.Keys(c.Types), func(a, b string) int { // types of states last
		return cmp.Or(strings.Count(a, contract.StateSuffix)-strings.Count(b, contract.StateSuffix), cmp.Compare(a, b))
	})
	for _, name := range sorted {
		name, isState := strings.CutSuffix(name, contract.StateSuffix)
		id := identifier(name, count[identifier(name, false)] > 1 && !isState)
		if isState {
			name += contract.StateSuffix
			if used[id] {
				id += "State"
			}
		}
		for n := 2; used[id]; n++ {
			id = identifier(strings.TrimSuffix(name, contract.StateSuffix), true) + strconv.Itoa(n)
		}
		used[id] = true
		made[name] = id
	}
	return made
}

// identifier returns a type name such as JoinRequest, or ChatJoinRequest with its package.
func identifier(name string, withPackage bool) string {
	base, args, _ := strings.Cut(name, "[")
	path, typ := "", base
	if i := strings.LastIndexByte(base, '.'); i >= 0 {
		path, typ = base[:i], base[i+1:]
	}
	id := title(typ)
	if withPackage {
		id = title(path[strings.LastIndexByte(path, '/')+1:]) + id
	}
	if id != "" && unicode.IsDigit(rune(id[0])) { // of a package such as example.com/2048
		id = "_" + id
	}
	if args != "" {
		for arg := range strings.SplitSeq(strings.TrimSuffix(args, "]"), ",") {
			id += identifier(arg, false)
		}
	}
	return id
}

func title(s string) string {
	var b strings.Builder
	up := true
	for _, r := range s {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
