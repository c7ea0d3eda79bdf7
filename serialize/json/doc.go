// Package json implements the payload serializer for JSON, as encoding/json reads and writes it.
// Clients in browsers use it.
//
//	srv := nano.New(nano.WithSerializer(json.NewSerializer()))
package json
