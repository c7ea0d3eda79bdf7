//go:build never

package genproto

import _ "google.golang.org/genproto/googleapis/type/date" // go mod tidy keeps the requirement
