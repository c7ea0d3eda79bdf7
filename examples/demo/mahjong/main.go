// Mahjong is a game of Sichuan mahjong, xuezhan daodi, for three or four players.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/lonng/nano/examples/demo/mahjong/sim"
)

func main() {
	simulate := flag.Int("simulate", 0, "play `N` hands by bots, check every state, and exit")
	seed := flag.Uint64("seed", 1, "the seed of -simulate; the same seed gives the same hands")
	flag.Parse()
	if *simulate <= 0 {
		fmt.Fprintln(os.Stderr, "mahjong: want -simulate N, the number of hands")
		os.Exit(2)
	}
	r := sim.Run(*simulate, *seed)
	r.Print(os.Stdout)
	if r.FaultCount() > 0 {
		os.Exit(1)
	}
}
