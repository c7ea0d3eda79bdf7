// Package genproto keeps a requirement of the module google.golang.org/genproto in go.mod.
//
// That module held the packages of google.golang.org/genproto/googleapis/rpc until 2023. A
// program whose go.mod still pins such a version would find them in two modules, and would not
// build. A requirement of a version after the split raises the pinned one.
package genproto
