package session

import "sync"

// Router remembers which node of a cluster serves which service for one session. What it is told on one node becomes
// known on every node that has the session. Its methods may be called concurrently; the zero value is ready.
type Router struct {
	changed func(service, address string) // told of what Bind and Delete did; nil where nobody wants to know

	mu     sync.RWMutex
	routes map[string]string // service -> address; mu guards it
}

// Bind has the session's messages to service go to the node at address, also where the client's gate serves it itself. It
// holds for what the gate reads from the client from then on, and as long as that node is up and serves the service.
func (r *Router) Bind(service, address string) {
	r.set(service, address)
	if r.changed != nil {
		r.changed(service, address)
	}
}

// set binds service to address, or unbinds it where that is empty.
func (r *Router) set(service, address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(service, address)
}

// swap is set for a service that is bound to old, unbound if that is empty. It returns what the binding is then, and whether
// this call made it.
func (r *Router) swap(service, old, address string) (now string, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now = r.routes[service]; now != old {
		return now, false
	}
	r.put(service, address)
	return address, true
}

// put is set; the caller holds mu.
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

// Find returns the address that service is bound to.
func (r *Router) Find(service string) (string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	address, ok := r.routes[service]
	return address, ok
}

// Delete forgets the binding of service.
func (r *Router) Delete(service string) {
	r.set(service, "")
	if r.changed != nil {
		r.changed(service, "")
	}
}
