// Package offline tests the JavaScript client in a browser that loses its network.
package offline
