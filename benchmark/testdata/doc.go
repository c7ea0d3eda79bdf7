// Package testdata declares the protobuf messages Ping and Pong. Load tests and robots that were
// written for earlier versions of this library import them.
package testdata

//go:generate protoc --go_out=. --go_opt=paths=source_relative test.proto
