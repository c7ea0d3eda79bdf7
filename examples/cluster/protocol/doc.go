// Package protocol declares JSON messages of the cluster chat as earlier versions of this library
// shipped it. Programs that grew out of that example import them; the present example, in the
// folder above, has messages of its own.
package protocol
