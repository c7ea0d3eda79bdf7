package sim

import (
	"slices"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

// Best is a slow evaluation of a win that shares no code with package rules: it lists every way to group the tiles, values
// each by the definitions, and returns the largest fan. It reports false if no way wins.
func Best(c rules.Config, hand rules.Counts, melds []rules.Meld, missing rules.Suit, at rules.Circumstances) (fan int, ok bool) {
	var tiles []rules.Tile
	for t := range rules.Tile(27) {
		if hand[t] > 0 && missing != rules.NoSuit && t/9 == rules.Tile(missing) {
			return 0, false
		}
		for range hand[t] {
			tiles = append(tiles, t)
		}
	}
	if len(tiles)+3*len(melds) != 14 {
		return 0, false
	}
	fan = -1
	if len(melds) == 0 {
		pairs := make([][]rules.Tile, 0, 7)
		for i := 0; i+1 < len(tiles) && tiles[i] == tiles[i+1]; i += 2 {
			pairs = append(pairs, tiles[i:i+2])
		}
		if len(pairs) == 7 {
			fan = max(fan, value(c, pairs, melds, at, true))
		}
	}
	// The loops try every pair, and then every grouping of the rest.
	for i := 0; i+1 < len(tiles); i++ {
		if tiles[i] != tiles[i+1] || i > 0 && tiles[i-1] == tiles[i] {
			continue
		}
		rest := append(append([]rules.Tile(nil), tiles[:i]...), tiles[i+2:]...)
		groups(rest, [][]rules.Tile{tiles[i : i+2]}, func(g [][]rules.Tile) {
			fan = max(fan, value(c, g, melds, at, false))
		})
	}
	return fan, fan >= 0
}

// groups calls f for each way to group sorted tiles into sets.
func groups(tiles []rules.Tile, done [][]rules.Tile, f func([][]rules.Tile)) {
	if len(tiles) == 0 {
		f(done)
		return
	}
	first := tiles[0]
	if len(tiles) >= 3 && tiles[1] == first && tiles[2] == first {
		groups(tiles[3:], append(slices.Clip(done), tiles[:3]), f)
	}
	if first%9 < 7 {
		second, third := -1, -1
		for i, t := range tiles {
			switch {
			case t == first+1 && second < 0:
				second = i
			case t == first+2 && third < 0:
				third = i
			}
		}
		if second > 0 && third > 0 {
			var rest []rules.Tile
			for i, t := range tiles {
				if i != 0 && i != second && i != third {
					rest = append(rest, t)
				}
			}
			groups(rest, append(slices.Clip(done), []rules.Tile{first, first + 1, first + 2}), f)
		}
	}
}

// value returns the fan of one grouping, by the definitions of the README.
func value(c rules.Config, groups [][]rules.Tile, melds []rules.Meld, at rules.Circumstances, pairs bool) (fan int) {
	number := map[rules.Tile]int{}
	sets := append([][]rules.Tile(nil), groups...)
	exposed, kongs := false, 0
	for _, m := range melds {
		set := []rules.Tile{m.Tile, m.Tile, m.Tile}
		if m.Kind != rules.Pong {
			set = append(set, m.Tile)
			kongs++
		}
		exposed = exposed || m.Kind != rules.ConcealedKong
		sets = append(sets, set)
	}
	allSame, allTerminal, only258, noTerminal := true, true, true, true
	suits := map[rules.Tile]bool{}
	for _, set := range sets {
		hasTerminal := false
		for _, t := range set {
			number[t]++
			suits[t/9] = true
			rank := t%9 + 1
			isTerminal := rank == 1 || rank == 9
			hasTerminal = hasTerminal || isTerminal
			noTerminal = noTerminal && !isTerminal
			only258 = only258 && (rank == 2 || rank == 5 || rank == 8)
		}
		allSame = allSame && set[0] == set[len(set)-1]
		allTerminal = allTerminal && hasTerminal
	}
	roots := 0
	for _, n := range number {
		if n == 4 {
			roots++
		}
	}
	switch {
	case pairs && roots > 0:
		fan += 3 + roots - 1
	case pairs:
		fan += 2
	default:
		fan += roots
		if allSame {
			fan++
			if len(melds) == 4 {
				fan++
			}
		}
		if allTerminal && c.TerminalsTwo {
			fan += 2
		} else if allTerminal {
			fan += 3
		}
	}
	if only258 && (pairs || allSame) {
		fan += 2
	}
	if len(suits) == 1 {
		fan += 2
	}
	if !exposed && !c.NoConcealed {
		fan++
	}
	if noTerminal && !c.NoSimples {
		fan++
	}
	for _, one := range []bool{at.KongFlower, at.KongShot, at.RobbedKong, at.LastDraw, at.LastDiscard, at.SelfDraw && c.SelfDraw == rules.SelfDrawFan} {
		if one {
			fan++
		}
	}
	if (at.Heavenly || at.Earthly) && !c.NoFirstHand {
		fan += 5
	}
	return fan
}
