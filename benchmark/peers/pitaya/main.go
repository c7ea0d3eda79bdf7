// Pitaya serves echoes with github.com/topfreegames/pitaya/v3, which speaks the same
// protocol.
package main

import (
	"context"
	"io"
	"os"

	pitaya "github.com/topfreegames/pitaya/v3/pkg"
	"github.com/topfreegames/pitaya/v3/pkg/acceptor"
	"github.com/topfreegames/pitaya/v3/pkg/component"
	"github.com/topfreegames/pitaya/v3/pkg/config"
)

// Bench is the component that clients call.
type Bench struct{ component.Base }

// Echo answers with the payload.
func (b *Bench) Echo(_ context.Context, data []byte) ([]byte, error) { return data, nil }

func main() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	conf := *config.NewDefaultPitayaConfig()
	conf.Handler.Messages.Compression = false // the load generator does not decompress
	builder := pitaya.NewDefaultBuilder(true, "bench", pitaya.Standalone, map[string]string{}, conf)
	builder.AddAcceptor(acceptor.NewTCPAcceptor(os.Args[1]))
	app := builder.Build()
	app.Register(&Bench{}, component.WithName("Bench"))
	app.Start()
}
