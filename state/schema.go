package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Schema describes the types of a state to clients.
type Schema struct {
	// JSON is a list of structs, the root first: ["Name", field...]. A field is a list
	// of its name, its kind and what the kind needs.
	JSON string
	// Hash is the first 16 hexadecimal digits of the SHA-256 of JSON.
	Hash string
}

func makeSchema(plans []*plan) Schema {
	types := make([][]any, len(plans))
	for i, p := range plans {
		types[i] = []any{p.name}
		for j := range p.fields {
			f := &p.fields[j]
			types[i] = append(types[i], append([]any{f.name}, f.describe()...))
		}
	}
	text, err := json.Marshal(types)
	if err != nil {
		panic(err) // names, texts and finite numbers always encode
	}
	sum := sha256.Sum256(text)
	return Schema{JSON: string(text), Hash: hex.EncodeToString(sum[:8])}
}

// describe returns the kind of v and its arguments.
func (v *value) describe() []any {
	name := kindNames[v.kind]
	switch v.kind {
	case kindEnum:
		return []any{name, v.enum}
	case kindQ, kindTurn:
		return []any{name, v.scale}
	case kindObj, kindStruct:
		return []any{name, v.obj.id}
	case kindList:
		return []any{name, v.elem.describe()}
	case kindMap:
		key := kindNames[v.key]
		if v.key == kindUbig {
			key = "uint"
		}
		return []any{name, key, v.elem.describe()}
	}
	return []any{name}
}
