package dispatch

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxRouteInLog  = 64        // bytes of a route in the log and in an error: a client may send anything
	maxReason      = 256       // bytes of a reason in the log
	maxRefusals    = 100       // routes whose first refusal is logged in one period
	refusalsPeriod = time.Hour // after which the first refusal of a route is logged again
)

// refusals logs the messages that this node refuses because of their route, flags or payload. A
// client can cause them as often as it likes, so the log is bounded: in one hour it names each
// route once, and 100 routes at most. The others are counted; the next record after the hour
// carries the count. The zero value is ready.
type refusals struct {
	mu       sync.Mutex
	since    time.Time           // when the period began; mu guards it and the fields below
	routes   map[string]struct{} // routes logged in the period
	unlogged int                 // refusals that were not
}

// logRefusal logs the refusal of a message if it is the first of its route in the period. err may
// quote what the client sent.
func (d *Dispatcher) logRefusal(route, reason string, err error) {
	first, unlogged := d.refused.note(time.Now(), route)
	if unlogged > 0 {
		d.Log.Info("nano: more messages were refused in the period before", "count", unlogged)
	}
	if !first {
		return
	}
	if reason != "" {
		reason += ": "
	}
	reason += err.Error()
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "..."
	}
	// The level is Info: the client is at fault, not the server.
	d.Log.Info("nano: message refused", "route", printable(route), "reason", reason)
}

// note counts a refusal. first is true if it is to be logged. unlogged is the count of the period
// before, once, after that has ended.
func (r *refusals) note(now time.Time, route string) (first bool, unlogged int) {
	route = route[:min(len(route), maxRouteInLog)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= refusalsPeriod {
		unlogged = r.unlogged
		r.since, r.routes, r.unlogged = now, map[string]struct{}{}, 0
	}
	if _, logged := r.routes[route]; logged || len(r.routes) == maxRefusals {
		r.unlogged++
		return false, unlogged
	}
	r.routes[strings.Clone(route)] = struct{}{}
	return true, unlogged
}

// printable returns a route as it is logged: cut to 64 bytes, and what is not printable escaped as
// in a Go string.
func printable(route string) string {
	if len(route) > maxRouteInLog {
		route = route[:maxRouteInLog] + "..."
	}
	quoted := strconv.Quote(route)
	return quoted[1 : len(quoted)-1]
}
