// Package contract reads the contract between a server and its clients from the server's source: routes, pushes, room
// kinds, errors and the types of their payloads.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Version is the version of the contract's JSON form.
const Version = 1

// Contract describes what clients of a program need to know. The same source gives the
// same contract.
type Contract struct {
	Version    int              `json:"version"`
	Package    string           `json:"package"`    // import path of the program
	Serializer string           `json:"serializer"` // "json", "protobuf", or "" for a serializer of the program
	Routes     []Route          `json:"routes"`
	Pushes     []Push           `json:"pushes"`
	Rooms      []Room           `json:"rooms"`
	Errors     []Error          `json:"errors"`
	Types      map[string]*Type `json:"types"` // named types, by import path and name
}

// The kinds of routes.
const (
	Request = "request" // answered with a reply
	Notify  = "notify"  // no reply was found in the source
)

// Route is a handler.
type Route struct {
	Route     string `json:"route"`
	Kind      string `json:"kind"`
	Component string `json:"component"` // import path and name of the component's type
	Method    string `json:"method"`
	Doc       string `json:"doc,omitempty"`
	Request   *Type  `json:"request"`
	Reply     *Type  `json:"reply,omitempty"`
	Internal  bool   `json:"internal,omitempty"` // only for other nodes
}

// Push is a push that is declared with nano.PushRoute.
type Push struct {
	Route string `json:"route"`
	Name  string `json:"name"` // name of the variable
	Doc   string `json:"doc,omitempty"`
	Type  *Type  `json:"type"`
}

// Room is a kind of room that is declared with room.Define.
type Room struct {
	Kind     string  `json:"kind"`
	Type     string  `json:"type"`
	Doc      string  `json:"doc,omitempty"`
	State    *Type   `json:"state"`            // as package state sends it
	Join     *Type   `json:"join,omitempty"`   // options of a join
	Reply    *Type   `json:"reply,omitempty"`  // reply of OnJoin
	Create   *Type   `json:"create,omitempty"` // options of a creation
	Messages []Route `json:"messages"`
}

// Error is an error code that the program sends.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text,omitempty"` // the format of its text
}

// These are the kinds of types.
const (
	KindBool    = "bool"
	KindInt     = "int"
	KindFloat   = "float"
	KindString  = "string"
	KindBytes   = "bytes" // base64 in JSON
	KindTime    = "time"  // RFC 3339 in JSON
	KindAny     = "any"   // a type with its own encoding, or an interface
	KindList    = "list"
	KindMap     = "map"
	KindStruct  = "struct"
	KindMessage = "message" // a protobuf message
	KindEnum    = "enum"
	KindRef     = "ref" // a named type of Contract.Types
	KindRaw     = "raw" // a payload that bypasses the serializer
)

// Type is the type of a payload or of a part of one.
type Type struct {
	Kind     string  `json:"kind"`
	Name     string  `json:"name,omitempty"` // name of a ref or a named type
	Doc      string  `json:"doc,omitempty"`
	Bits     int     `json:"bits,omitempty"` // size of int and float
	Unsigned bool    `json:"unsigned,omitempty"`
	Nullable bool    `json:"nullable,omitempty"` // may be null
	Quoted   bool    `json:"quoted,omitempty"`   // a number, bool or string in a JSON string
	Big      bool    `json:"big,omitempty"`      // of a room's state: a BigInt in JavaScript
	Len      int     `json:"len,omitempty"`      // length of an array
	Key      *Type   `json:"key,omitempty"`
	Elem     *Type   `json:"elem,omitempty"`
	Fields   []Field `json:"fields,omitempty"`
	Values   []Value `json:"values,omitempty"` // values of an enum
}

// Field is a field of a struct or message.
type Field struct {
	Name     string `json:"name"` // name on the wire
	Go       string `json:"go"`
	Doc      string `json:"doc,omitempty"`
	Type     *Type  `json:"type"`
	Optional bool   `json:"optional,omitempty"` // may be missing
	Number   int    `json:"number,omitempty"`   // number of a protobuf field
	Wire     string `json:"wire,omitempty"`     // protobuf encoding: varint, zigzag32, zigzag64, fixed32, fixed64, bytes
	Oneof    string `json:"oneof,omitempty"`
}

// Value is a value of an enum.
type Value struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	Doc   string `json:"doc,omitempty"`
}

// JSON returns the contract in its JSON form. It ends with a newline.
func (c *Contract) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Parse reads the JSON form of a contract. An unknown version and a missing type are errors.
func Parse(data []byte) (*Contract, error) {
	var c Contract
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	switch {
	case c.Version == 0:
		return nil, errors.New("contract: the file is not a contract: it has no version; nano routes --json prints one")
	case c.Version < Version:
		return nil, fmt.Errorf("contract: version %d is too old, want %d: print it again from its source with nano routes --json", c.Version, Version)
	case c.Version > Version:
		return nil, fmt.Errorf("contract: version %d is too new, want %d: update the nano command", c.Version, Version)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	return &c, nil
}

// CompactPushes returns pushes sorted by route. Of declarations with the same route and
// type it keeps the first.
func CompactPushes(pushes []Push) []Push {
	sorted := slices.Clone(pushes)
	slices.SortStableFunc(sorted, func(a, b Push) int { return strings.Compare(a.Route, b.Route) })
	return slices.CompactFunc(sorted, func(a, b Push) bool { return a.Route == b.Route && reflect.DeepEqual(a.Type, b.Type) })
}
