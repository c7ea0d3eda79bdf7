//go:build !nano_portable

package handler_test

import (
	"context"
	"testing"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestCallAllocatesNothing(t *testing.T) {
	handlers := service(t, &Quiet{}).Handlers
	s := session.New(mock.NewNetworkEntity())
	ctx := context.Background()
	for name, h := range handlers {
		arg := handler.Raw([]byte("payload"))
		if !h.IsRawArg {
			var err error
			if arg, err = h.Decode(json.NewSerializer(), []byte(`{"name":"x"}`)); err != nil {
				t.Fatal(err)
			}
		}
		n := testing.AllocsPerRun(100, func() {
			if _, err := h.Call(ctx, s, arg); err != nil {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: a call allocates %v times, want 0", name, n)
		}
	}
}
