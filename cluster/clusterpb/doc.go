// Package clusterpb contains the messages and the gRPC service of cluster.proto, the protocol between the nodes of a
// cluster. Programs use [MemberInfo].
package clusterpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative cluster.proto
