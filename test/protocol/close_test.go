package protocol_test

import (
	"strings"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// A browser closes with 1001 when its page goes away, a client with 1000 or without a code. None of that is an error,
// in debug mode neither; a code that does not exist is one.
func TestCloseIsNoProtocolError(t *testing.T) {
	for _, c := range []struct {
		name, frame string
		reason      string
		fault       bool
	}{
		{"going away", "\x03\xe9", "client", false},
		{"normal", "\x03\xe8", "client", false},
		{"no code", "", "client", false},
		{"of the program", "\x0f\xa0", "client", false},
		{"reserved code", "\x03\xed", "protocol", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := testkit.NewLogCapture()
			at := testkit.Start(t, "ws", testkit.NewGame(nil), log.Option(), nano.WithDebugMode())
			p := at.Join()
			p.Echo(1, "here")
			if err := p.Raw(testkit.Frame(0x88, []byte(c.frame))); err != nil {
				t.Fatal(err)
			}
			p.ReadEnd()
			testkit.Eventually(t, "the session has closed", func() bool { return at.Stats().Sessions == 0 && at.Stats().Closed[c.reason] == 1 })
			if all := log.All(); strings.Contains(all, "protocol error") != c.fault || strings.Contains(all, session.ErrProtocol.Error()) != c.fault ||
				strings.Contains(all, "WARN") || strings.Contains(all, "ERROR") {
				t.Errorf("the log is %s", all)
			}
		})
	}
}
