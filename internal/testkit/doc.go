// Package testkit holds the helpers that the scenario tests under test/ and the tests of the
// root package share.
//
// A test starts a server with [Start], or nodes of a cluster with [StartNode]. It speaks to
// them through a [Client], which chooses every byte, or a [Player], which is the Go client of
// this library. Whatever a helper starts ends with the test.
package testkit
