package main

import (
	"encoding/hex"
	"fmt"

	"github.com/lonng/nano/examples/demo/mahjong/rules"
)

// Again replays a record and calls f with the state after the deal and after each step.
func (r *Record) Again(f func(*rules.State)) error {
	var seed [32]byte
	b, err := hex.DecodeString(r.Seed)
	if err != nil || len(b) != len(seed) {
		return fmt.Errorf("mahjong: the seed %q, want %d bytes in hex", r.Seed, len(seed))
	}
	copy(seed[:], b)
	s, err := rules.New(r.Config, r.Dealer, seed)
	if err != nil {
		return err
	}
	f(s)
	for _, a := range r.Actions {
		before := s.Phase
		if err := s.Apply(a); err != nil {
			return err
		}
		if before != rules.Claim {
			f(s)
		}
		if s.Phase == rules.Claim && len(s.Waiting()) == 0 {
			if err := s.Resolve(); err != nil {
				return err
			}
			f(s)
		}
	}
	return nil
}

// Replay is a past hand: a board for each step, with all hands open.
type Replay struct {
	Seat   int     `json:"seat"` // seat of the requesting player
	Hand   *Past   `json:"hand"`
	Boards []Board `json:"boards"`
}

// Boards returns the board of each step.
func (r *Record) Boards() ([]Board, error) {
	var list []Board
	err := r.Again(func(s *rules.State) {
		b := Board{Stage: Playing, Code: r.Code, Hand: r.Number, Step: len(list), VoteBy: none, Seats: make([]Seat, len(s.Seats))}
		for i, name := range r.Names {
			b.Seats[i].Name, b.Seats[i].Bot = name, r.Players[i] == 0
		}
		b.show(s.View(-1))
		for i := range s.Seats {
			b.Seats[i].Hand = numbers(s.Seats[i].Hand.Tiles())
			b.Seats[i].Missing = uint8(s.Seats[i].Missing)
		}
		if s.Phase == rules.Over {
			b.Stage, b.Seed = Between, r.Seed
			for i, n := range r.Totals {
				b.Seats[i].Change = n
			}
		}
		list = append(list, b)
	})
	return list, err
}
