// Package rules implements Sichuan mahjong, xuezhan daodi: a hand continues until only
// one player is left or the wall is empty. It is pure: a [State] and an [Action] produce
// the next state. It uses no network, clock or random source except the seed of a hand.
package rules
