package rules

import (
	"errors"
	"fmt"
)

// SelfDrawBonus is the bonus of a win by self-draw.
type SelfDrawBonus uint8

// These are the bonuses of a self-draw.
const (
	SelfDrawBase SelfDrawBonus = iota // one base more from each payer, after the cap
	SelfDrawFan                       // one fan, before the cap
	SelfDrawNone                      // nothing
)

// Config holds the settings of a table.
type Config struct {
	Players int // 3 or 4
	Suits   int // 3; with three players also 2, without a missing suit and without pigs
	Base    int // stake of a plain win, at least 1
	Cap     int // largest fan that counts: 3, 4 or 5
	Hands   int // hands of a room: 4, 8 or 16

	SelfDraw           SelfDrawBonus
	ExchangeAny        bool // the three tiles of the exchange may be of several suits
	TerminalsTwo       bool // terminals in every set count 2 fan, not 3
	NoFirstHand        bool // no heavenly and earthly hand
	NoConcealed        bool // no fan for a concealed hand
	NoSimples          bool // no fan for a hand without terminals
	FlowerByDiscarder  bool // a kong flower after an exposed kong is paid by that kong's discarder alone
	LastFourMustWin    bool // a player who can win on one of the last four tiles must win
	HideConcealedKongs bool // the tile of a concealed kong is hidden until the end of the hand
}

// Default returns the usual settings for four players.
func Default() Config { return Config{Players: 4, Suits: 3, Base: 1, Cap: 4, Hands: 8} }

// Check returns all errors in the settings, joined.
func (c Config) Check() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("rules: "+format, args...))
		}
	}
	fault(c.Players != 3 && c.Players != 4, "%d players, want 3 or 4", c.Players)
	fault(c.Suits != 3 && (c.Suits != 2 || c.Players != 3), "%d suits for %d players, want 3, or 2 for three players", c.Suits, c.Players)
	fault(c.Base < 1 || c.Base > 1_000_000, "base %d, want 1 to 1000000", c.Base)
	fault(c.Cap < 3 || c.Cap > 5, "cap of %d fan, want 3, 4 or 5", c.Cap)
	fault(c.Hands != 4 && c.Hands != 8 && c.Hands != 16, "%d hands, want 4, 8 or 16", c.Hands)
	fault(c.SelfDraw > SelfDrawNone, "unknown self-draw bonus %d", c.SelfDraw)
	return errors.Join(errs...)
}

// missing reports whether players choose a missing suit.
func (c Config) missing() bool { return c.Suits == 3 }

// tiles returns the number of tiles in the game.
func (c Config) tiles() int { return c.Suits * 9 * copies }

// pay returns the stake of a win with a number of fan.
func (c Config) pay(fan int) int { return c.Base << min(fan, c.Cap) }
