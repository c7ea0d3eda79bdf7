package nano

import (
	"strings"
	"time"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/internal/snowflake"
)

// The options in this file are older names. They stay, so that existing programs compile.

// WithIsWebsocket makes [Listen] accept WebSocket clients instead of TCP clients if
// enable is true.
//
// Deprecated: Use [WithWebSocket].
func WithIsWebsocket(enable bool) Option { return func(o *options) { o.web.enabled = enable } }

// WithWSPath sets the path at which WebSocket clients connect: "/" by default. A missing
// leading slash is added. Without an option that makes Listen accept WebSocket clients,
// [Listen] returns an error.
//
// Deprecated: Use [WithWebSocket].
func WithWSPath(path string) Option {
	return func(o *options) { o.web.path, o.web.ownPath = "/"+strings.TrimPrefix(path, "/"), true }
}

// WithTSLConfig is WithTLSFiles.
//
// Deprecated: Use [WithTLSFiles].
func WithTSLConfig(certificate, key string) Option {
	return func(o *options) { o.useTLSFiles("WithTSLConfig", certificate, key) }
}

// WithNodeId is WithNodeID.
//
// Deprecated: Use [WithNodeID].
func WithNodeId(id uint64) Option {
	return func(o *options) {
		if id > snowflake.MaxNode {
			o.fault("WithNodeId: want %d at most, got %d", snowflake.MaxNode, id)
			return
		}
		o.nodeID, o.hasNodeID = id, true
	}
}

// WithMaster is WithCluster.
//
// Deprecated: Use [WithCluster].
func WithMaster() Option { return WithCluster() }

// WithAdvertiseAddr is WithSeeds with the addresses in one string, separated by commas,
// and WithSeedRetry if retry is given. Empty addresses between commas are ignored.
//
// Deprecated: Use [WithSeeds] and [WithSeedRetry].
func WithAdvertiseAddr(addr string, retry ...time.Duration) Option {
	return func(o *options) {
		seeds := strings.FieldsFunc(addr, func(r rune) bool { return r == ',' || r == ' ' })
		o.addSeeds("WithAdvertiseAddr", seeds)
		if len(retry) > 0 && o.above("WithAdvertiseAddr", retry[0]) {
			o.cluster.retry = retry[0]
		}
	}
}

// WithServiceAddr is WithNodeAddress.
//
// Deprecated: Use [WithNodeAddress].
func WithServiceAddr(addr string) Option { return WithNodeAddress(addr) }

// WithCustomerRemoteServiceRoute is WithNodeSelector.
//
// Deprecated: Use [WithNodeSelector].
func WithCustomerRemoteServiceRoute(f cluster.CustomerRemoteServiceRoute) Option {
	return WithNodeSelector(f)
}

// WithUnregisterCallback sets a function to call when another node goes down; nil is
// ignored.
//
// Deprecated: Use [WithMemberCallback] and look at Member.Up.
func WithUnregisterCallback(f func(cluster.Member)) Option {
	return func(o *options) {
		if f == nil {
			return
		}
		o.cluster.changed = append(o.cluster.changed, func(m cluster.Member) {
			if !m.Up {
				f(m)
			}
		})
	}
}
