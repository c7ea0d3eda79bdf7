package mesh

import (
	"errors"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/nodeauth"
)

var (
	// ErrRefused is returned by Start when this node and another one refuse each other: see nodeauth.ErrRefused.
	ErrRefused = nodeauth.ErrRefused
	// ErrDuplicateID is returned by Start when another member has the fixed node id of this node.
	ErrDuplicateID = errors.New("cluster: node id is in use")
	// ErrNoAddr is returned by Start when other nodes cannot dial the address of this node.
	ErrNoAddr = errors.New("cluster: node without an address")
	// ErrStopped is returned by Start, and ends every link, when this node stops.
	ErrStopped = link.ErrStopped

	errReplaced = errors.New("cluster: member opened a new link")
)
