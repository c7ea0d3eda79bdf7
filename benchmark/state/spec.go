package main

// spec describes a case to the processes that run it, in Go and in JavaScript.
type spec struct {
	Kind     string  `json:"kind"`
	Entities int     `json:"entities"`
	Changed  int     `json:"changed"`
	Field    string  `json:"field"` // field type of @colyseus/schema: number, uint8, int16 or float32
	Type     string  `json:"type"`  // field type of package state: int, uint8, exact, q, plain or touch
	Move     string  `json:"move"`
	Range    float64 `json:"range"`
	Radius   float64 `json:"radius"`
	Speed    float64 `json:"speed"`
	Still    bool    `json:"still"`
	Messages int     `json:"messages"`
	File     string  `json:"file"` // file of messages, for encode and decode
	Warm     float64 `json:"warm"` // milliseconds
	Rounds   int     `json:"rounds"`
	Round    float64 `json:"round"` // milliseconds
}

// These are the kinds of cases.
const (
	initialBytes = "initial bytes"
	patchBytes   = "patch bytes"
	viewBytes    = "view bytes"
	ticks        = "ticks"
	views        = "views"
	encode       = "encode"
	decode       = "decode"
)

// benchCase is one row of the table.
type benchCase struct {
	name string
	spec spec
	bar  float64 // largest ratio to @colyseus/schema, or largest figure if absolute is set
	// absolute is the unit of a case that is slower by design. Its ratio is printed and
	// not compared with a bar.
	absolute string
}

// cases are the rows, in the order of the table.
var cases = []benchCase{
	{"initial, 100 entities", spec{Kind: initialBytes, Entities: 100, Field: "number", Type: "int", Move: "jump", Range: 1000, Changed: 100}, 0.82, ""},
	{"100 of 100 changed, int", spec{Kind: patchBytes, Entities: 100, Field: "number", Type: "int", Move: "jump", Range: 1000, Changed: 100}, 0.60, ""},
	{"100 of 100 changed, uint8", spec{Kind: patchBytes, Entities: 100, Field: "uint8", Type: "uint8", Move: "jump", Range: 256, Changed: 100}, 0.52, ""},
	{"1 of 100 changed, mean", spec{Kind: patchBytes, Entities: 100, Field: "number", Type: "int", Move: "jump", Range: 1000, Changed: 1}, 1.0, ""},
	{"300 views of 60, equal exactness", crowd(viewBytes, 300, 252, "int16", "q", false), 0.52, ""},
	{"300 views of 60, q=0.1", crowd(viewBytes, 300, 252, "float32", "q", false), 0.36, ""},
	{"300 views of 60, raw float32", crowd(viewBytes, 300, 252, "float32", "exact", false), 0.95, ""},

	{"100 of 100, Map", tickSpec(100, 100, "int"), 0.25, ""},
	{"100 of 100, plain map", tickSpec(100, 100, "plain"), 0.45, ""},
	{"50 of 100, Map", tickSpec(100, 50, "int"), 0.30, ""},
	{"300 views of 60 of 300, still", crowd(views, 300, 252, "float32", "q", true), 0.08, ""},
	{"300 views of 60 of 300, moving", crowd(views, 300, 252, "float32", "q", false), 0.12, ""},
	{"1,000 views of 50 of 1,000, still", crowd(views, 1000, 126, "float32", "q", true), 0.08, ""},
	{"1,000 views of 50 of 1,000, moving", crowd(views, 1000, 126, "float32", "q", false), 0.09, ""},
	{"decode 100 of 100, JavaScript", spec{Kind: decode, Entities: 100, Changed: 100, Field: "number", Type: "int", Move: "jump", Range: 1000, Messages: 100}, 0.5, ""},

	{"0 of 100, Map (lost by design)", tickSpec(100, 0, "int"), 1.0, "us"},
	{"1 of 100, Map (lost by design)", tickSpec(100, 1, "int"), 1.0, "us"},
	{"100 of 10,000, Map (lost by design)", tickSpec(10000, 100, "int"), 70, "us"},
	{"100 of 10,000, Touch (lost by design)", tickSpec(10000, 100, "touch"), 12, "us"},
}

func tickSpec(entities, changed int, typ string) spec {
	return spec{Kind: ticks, Entities: entities, Changed: changed, Field: "number", Type: typ, Move: "jump", Range: 1000}
}

// crowd is a set of entities on a square of 1,000 by 1,000, with a view around each. An
// entity moves at most 5 per tick in each direction.
func crowd(kind string, n int, radius float64, field, typ string, still bool) spec {
	return spec{Kind: kind, Entities: n, Changed: n, Field: field, Type: typ, Range: 1000, Radius: radius, Speed: 5, Still: still}
}
