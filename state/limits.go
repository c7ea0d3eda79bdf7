package state

// These limits bound the cost of one Tick and one message.
const (
	maxFields  = 64      // per struct, including nested structs
	maxDepth   = 8       // nesting of structs, lists and maps
	maxEntries = 1 << 20 // per map
	maxInt     = 1 << 52 // absolute value of an int
	maxLevel   = 15      // per field
	maxSteps   = 1 << 24 // per turn
)
