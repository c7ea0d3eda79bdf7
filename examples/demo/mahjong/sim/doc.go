// Package sim plays hands of mahjong with bots and checks every state: a second
// evaluation of each win, the location of each tile, and the sum of the scores.
package sim
