package client

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// badOptions are options with refused values, and the expected error texts.
var badOptions = map[string]struct {
	option Option
	want   string
}{
	"dialer":         {WithDialer(nil), "WithDialer: want a function, got nil"},
	"inbound":        {WithInbound(func(*Message) error { return nil }, nil), "WithInbound: want hooks, got nil"},
	"outbound":       {WithOutbound(nil), "WithOutbound: want hooks, got nil"},
	"offline":        {WithOffline(2), "WithOffline: want OfflineWait or OfflineFail, got 2"},
	"negative waits": {WithReconnect(Reconnect{Min: -1}), "WithReconnect: want Min and Max of 0 or more, got -1ns and 0s"},
	"waits":          {WithReconnect(Reconnect{Min: time.Minute, Max: time.Second}), "WithReconnect: want a Max of at least Min, got 1s below 1m0s"},
}

// TestBadOptions checks that Dial and New return the errors of all options together, and
// that New closes the connection.
func TestBadOptions(t *testing.T) {
	var all []Option
	wants := []string{"expected the scheme"}
	dials := WithDialer(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialed") })
	for name, test := range badOptions {
		if _, err := Dial(t.Context(), "game:3250", dials, test.option); err == nil || err.Error() != "client: "+test.want {
			t.Errorf("%s: Dial = %v, want %q", name, err, test.want)
		}
		all, wants = append(all, test.option), append(wants, test.want)
	}
	_, err := Dial(t.Context(), "http://game:3250", all...)
	for _, want := range wants {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("all bad options together: Dial = %v, want %q in it", err, want)
		}
	}
	conn, server := net.Pipe()
	defer server.Close()
	_, err = New(t.Context(), conn, all...)
	for _, want := range wants[1:] {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("all bad options together: New = %v, want %q in it", err, want)
		}
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("reading from the connection of New: %v, want EOF", err)
	}
}

// TestNilOption checks that a nil option has no effect.
func TestNilOption(t *testing.T) {
	if o := newOptions([]Option{nil}); o.faults != nil {
		t.Errorf("the faults are %v, want none", o.faults)
	}
}
