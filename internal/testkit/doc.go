// Package testkit holds the helpers of the scenario tests under test/ and of the tests of
// the root package.
//
// A test starts a server with [Start], or nodes of a cluster with [StartNode]. It
// connects a [Client], which chooses every byte, or a [Player], which is the Go client of
// this library. The end of the test stops whatever a helper has started.
package testkit
