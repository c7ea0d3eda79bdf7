package session

import "sync"

// Router says which node of a cluster serves which service for one session. A change on
// one node reaches every node that has the session. Its methods may be called
// concurrently, and the zero value is ready to use.
type Router struct {
	changed func(service, address string) // called by Bind and Delete; may be nil

	mu     sync.RWMutex
	routes map[string]string // service -> address; mu guards it
}

// Bind binds service to the node at address: the gate forwards the session's messages for
// that service to the node, even if the gate serves it too. It applies to messages that
// the gate reads afterwards, as long as that node is up and serves the service.
func (r *Router) Bind(service, address string) {
	r.set(service, address)
	if r.changed != nil {
		r.changed(service, address)
	}
}

// set binds service to address, or unbinds it if address is empty.
func (r *Router) set(service, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(service, address)
}

// swap is set if the service is bound to old; an empty old means unbound. It returns the
// address that the service is bound to afterwards, and whether this call changed it.
func (r *Router) swap(service, old, address string) (now string, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now = r.routes[service]; now != old {
		return now, false
	}
	r.put(service, address)
	return address, true
}

// put is set for a caller that holds mu.
func (r *Router) put(service, address string) {
	if address == "" {
		delete(r.routes, service)
		return
	}
	if r.routes == nil {
		r.routes = make(map[string]string)
	}
	r.routes[service] = address
}

// Find returns the address that service is bound to, and whether it is bound.
func (r *Router) Find(service string) (string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	address, ok := r.routes[service]
	return address, ok
}

// Delete unbinds service.
func (r *Router) Delete(service string) {
	r.set(service, "")
	if r.changed != nil {
		r.changed(service, "")
	}
}
