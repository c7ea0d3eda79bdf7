package nano_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestErrOldClient checks that code 501 needs ErrOldClient, and that each refusal carries
// the heartbeat interval. Some clients read the interval before the code.
func TestErrOldClient(t *testing.T) {
	type refuse = func(*session.Session, []byte) error
	validator := func(f refuse) nano.Option { return nano.WithHandshakeValidator(f) }
	data := func(f refuse) nano.Option {
		return nano.WithHandshakeData(func(s *session.Session, b []byte) (any, error) { return "data", f(s, b) })
	}
	for what, option := range map[string]func(refuse) nano.Option{"validator": validator, "data": data} {
		for _, test := range []struct {
			err  error
			code int
		}{
			{nano.ErrOldClient, 501},
			{fmt.Errorf("update to version 3: %w", nano.ErrOldClient), 501},
			{errors.New("bad token"), 500},
			{nano.Errorf("GAME-1", "banned"), 500},
		} {
			at := testkit.Start(t, "tcp", &testkit.Game{}, option(func(*session.Session, []byte) error { return test.err }))
			a := at.Dial().Handshake("{}")
			if a.Code != test.code || a.Message != test.err.Error() || a.Sys == nil || a.Sys.Heartbeat != 30 {
				t.Errorf("%s: the answer to %v is %+v, want code %d, the text and the heartbeat", what, test.err, a, test.code)
			}
		}
	}
}
