// Package interop holds the tests that drive clients of others against this server. It is a module of its own, so
// that no other module depends on what those clients need.
//
// The clients run under Node: npm ci installs them. Without it the tests are skipped, unless NANO_REQUIRE_NODE is set.
package interop
