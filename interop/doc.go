// Package interop tests this server with clients of other projects. It is a separate
// module, so no other module depends on the dependencies of those clients.
//
// The clients run under Node. npm ci installs them. Without it the tests are skipped,
// unless NANO_REQUIRE_NODE is set.
package interop
