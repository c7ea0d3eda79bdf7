// Listen serves echoes with a version of nano whose Listen takes components.
package main

import (
	"io"
	"os"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// Bench is the component that clients call.
type Bench struct{ component.Base }

// Echo answers with the payload.
func (b *Bench) Echo(s *session.Session, data []byte) error { return s.Response(data) }

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	components := &component.Components{}
	components.Register(&Bench{})
	nano.Listen(os.Args[1], nano.WithComponents(components))
}
