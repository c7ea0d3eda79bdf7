// Package clusterpb is the contract between the nodes of a cluster: the messages and the gRPC service of
// cluster.proto. It knows nothing of how a node uses them.
package clusterpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative cluster.proto
