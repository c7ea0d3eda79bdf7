// Package mock implements a network entity without a network, for unit tests of handlers.
//
// A test makes a session with session.New(mock.NewNetworkEntity()), calls a handler with
// it, and asks the entity what the handler sent. Nothing is encoded and nothing is
// delivered. Package nanotest runs whole servers in memory. Servers do not use this
// package.
package mock
