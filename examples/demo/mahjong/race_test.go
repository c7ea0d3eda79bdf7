//go:build race

package main

func init() { leakHands = 10 } // the race detector makes hands several times slower; .ci/run plays all without it
