// Package json implements the payload serializer for JSON, as encoding/json reads and writes it.
// Clients in browsers speak it.
package json
