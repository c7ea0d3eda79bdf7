// Package protobuf implements the payload serializer for Protocol Buffers, which a server uses
// unless nano.WithSerializer gives it another one.
//
//	srv := nano.New(nano.WithSerializer(protobuf.NewSerializer())) // the default
//
// It takes messages of both generations of protoc-gen-go: those of google.golang.org/protobuf, and
// the older ones that have only the methods Reset, String and ProtoMessage.
package protobuf
