package main

import (
	"strconv"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/state"
)

// Stage is the stage of a table.
type Stage uint8

// These are the stages of a table.
const (
	Gathering Stage = iota // players take seats and report that they are ready
	Playing                // a hand is played
	Between                // a hand is over, and the next one waits until its players are ready
	Finished               // all hands of the room were played
)

// none represents no tile and no seat.
const none = uint8(rules.None)

// TableState is the state of a table for clients. Mine holds the hidden fields, which
// only their owner gets.
type TableState struct {
	Board
	Mine state.Map[room.PlayerID, Mine]
}

// Board is the part of the state that all clients see, including spectators. A replay is
// a list of boards, so the fields also have JSON names.
type Board struct {
	Stage  Stage        `json:"stage"`
	Code   string       `json:"code"`
	Config rules.Config `json:"-"`
	Hand   int          `json:"hand"` // the number of the hand, from 1
	Step   int          `json:"step"` // step of the hand; an action names its step
	Due    int64        `json:"due"`  // deadline in Unix milliseconds; 0 for no limit
	VoteBy uint8        `json:"voteBy"`

	Phase     uint8     `json:"phase"`
	Dealer    uint8     `json:"dealer"`
	Turn      uint8     `json:"turn"`
	Wall      uint8     `json:"wall"`
	Shift     uint8     `json:"shift"`
	Claimed   uint8     `json:"claimed"`
	Robbing   bool      `json:"robbing"`
	WallEnded bool      `json:"wallEnded"`
	Seed      string    `json:"seed"` // hex, empty until the hand is over
	Seats     []Seat    `json:"seats"`
	Payments  []Payment `json:"payments"`
}

// Seat is the public part of a seat.
type Seat struct {
	Name   string `json:"name"` // empty for a free seat
	Bot    bool   `json:"bot"`
	Away   bool   `json:"away"`
	Auto   bool   `json:"auto"`
	Set    bool   `json:"set"`    // ready for the next hand
	Vote   bool   `json:"vote"`   // agrees to dissolve the room
	Score  int    `json:"score"`  // score of the hands in this room
	Change int    `json:"change"` // change of the score by the finished hand

	Tiles    uint8  `json:"tiles"`
	Hand     Tiles  `json:"hand"` // set when the hand is over
	Melds    []Meld `json:"melds"`
	Discards Tiles  `json:"discards"`
	Missing  uint8  `json:"missing"`
	Done     bool   `json:"done"`
	Won      uint8  `json:"won"` // position among the winners, from 1
	WinTile  uint8  `json:"winTile"`
	SelfWon  bool   `json:"selfWon"`
	Fan      uint8  `json:"fan"`
	Items    []Item `json:"items"`
	Pig      bool   `json:"pig"`
	Ready    bool   `json:"ready"`
}

// Meld is a pong or a kong.
type Meld struct {
	Kind uint8 `json:"kind"`
	Tile uint8 `json:"tile"`
	From uint8 `json:"from"`
}

// Item is a pattern of a win.
type Item struct {
	Pattern uint8 `json:"pattern"`
	Fan     uint8 `json:"fan"`
}

// Payment is a payment between players.
type Payment struct {
	From   uint8 `json:"from"`
	To     uint8 `json:"to"`
	Amount int   `json:"amount"`
	Reason uint8 `json:"reason"`
}

// Mine is the part of a seat that its player sees.
type Mine struct {
	Seat     uint8
	Hand     Tiles `state:"owner"`
	Drawn    uint8 `state:"owner"`
	Given    Tiles `state:"owner"`
	Received Tiles `state:"owner"`
	Missing  uint8 `state:"owner"`
	Options  uint8 `state:"owner"` // rules.Options of a claim
	Kongs    Tiles `state:"owner"`
	Hidden   Tiles `state:"owner"` // the tiles of hidden concealed kongs, in the order of the melds
	MayWin   bool  `state:"owner"`
	MustWin  bool  `state:"owner"`
	Waits    Tiles `state:"owner"` // the tiles that complete the hand
}

// Tiles is a list of tile numbers: see rules.Tile.
type Tiles []uint8

// MarshalJSON encodes a list of numbers. Without it, encoding/json would use a base64
// string.
func (t Tiles) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, n := range t {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return append(b, ']'), nil
}

func numbers(tiles []rules.Tile) Tiles {
	list := make(Tiles, len(tiles))
	for i, t := range tiles {
		list[i] = uint8(t)
	}
	return list
}

// show copies the public part of a hand.
func (b *Board) show(v *rules.View) {
	b.Phase, b.Dealer, b.Turn, b.Wall = uint8(v.Phase), uint8(v.Dealer), uint8(v.Turn), uint8(v.Wall)
	b.Shift, b.Claimed, b.Robbing, b.WallEnded = uint8(v.Shift), uint8(v.Claimed), v.Robbing, v.WallEnded
	for i := range v.Seats {
		from, to := &v.Seats[i], &b.Seats[i]
		to.Tiles, to.Hand, to.Discards = uint8(from.Tiles), numbers(from.Hand), numbers(from.Discards)
		to.Melds = make([]Meld, len(from.Melds))
		for k, m := range from.Melds {
			to.Melds[k] = Meld{uint8(m.Kind), uint8(m.Tile), uint8(m.From)}
		}
		to.Missing, to.Done, to.Won = uint8(from.Missing), from.Done, uint8(from.Order)
		to.WinTile, to.SelfWon, to.Fan = uint8(from.WinTile), from.SelfWon, uint8(from.Score.Fan)
		to.Items = make([]Item, len(from.Score.Items))
		for k, item := range from.Score.Items {
			to.Items[k] = Item{uint8(item.Pattern), uint8(item.Fan)}
		}
		to.Pig, to.Ready = from.Pig, from.Ready
	}
	b.Payments = make([]Payment, len(v.Payments))
	for i, p := range v.Payments {
		b.Payments[i] = Payment{uint8(p.From), uint8(p.To), p.Amount, uint8(p.Reason)}
	}
}

// show copies the part of a hand that the seat's player sees.
func (m *Mine) show(v *rules.View) {
	m.Hand, m.Drawn = numbers(v.Hand), uint8(v.Drawn)
	m.Given, m.Received = numbers(v.Given), numbers(v.Received)
	own := &v.Seats[v.Seat]
	m.Missing, m.Options = uint8(own.Missing), uint8(v.Options)
	m.Kongs, m.MayWin, m.MustWin = numbers(v.Kongs), v.MayWin, v.MustWin
	m.Hidden, m.Waits = nil, nil
	if v.Config.HideConcealedKongs {
		for _, meld := range own.Melds {
			if meld.Kind == rules.ConcealedKong {
				m.Hidden = append(m.Hidden, uint8(meld.Tile))
			}
		}
	}
	if len(v.Hand)%3 == 1 && v.Phase >= rules.Turn && !own.Won {
		var hand rules.Counts
		hand.Add(v.Hand...)
		waits, _ := rules.Waits(v.Config, hand, own.Melds, own.Missing)
		m.Waits = numbers(waits)
	}
}

// clear resets the board for the next hand. Names and scores stay.
func (b *Board) clear() {
	b.Phase, b.Turn, b.Wall, b.Shift, b.Claimed = 0, none, 0, 0, none
	b.Robbing, b.WallEnded, b.Seed, b.Payments = false, false, "", nil
	for i := range b.Seats {
		s := &b.Seats[i]
		b.Seats[i] = Seat{Name: s.Name, Bot: s.Bot, Away: s.Away, Auto: s.Auto, Score: s.Score, Missing: none, WinTile: none}
	}
}
