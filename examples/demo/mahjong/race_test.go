//go:build race

package main

func init() { leakHands = 100 } // the race detector makes hands several times slower
