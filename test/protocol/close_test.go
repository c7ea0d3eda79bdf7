package protocol_test

import (
	"strings"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestCloseIsNoProtocolError checks that close code 1001, code 1000 and a close without a
// code are not errors, not even in debug mode. Browsers send 1001 when the page closes. A
// code that does not exist is an error.
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
