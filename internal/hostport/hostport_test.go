package hostport_test

import (
	"testing"

	"github.com/lonng/nano/internal/hostport"
)

func TestEqual(t *testing.T) {
	for _, test := range []struct {
		a, b, port string
		want       bool
	}{
		{"game.example.com", "game.example.com", "443", true},
		{"game.example.com", "game.example.com:443", "443", true},
		{"game.example.com:", "game.example.com:443", "443", true},
		{"Game.Example.Com.", "game.example.com", "443", true},
		{"game.example.com:8443", "game.example.com", "443", false},
		{"game.example.com:80", "game.example.com", "443", false},
		{"game.example.com.evil.org", "game.example.com", "443", false},
		{"example.com", "game.example.com", "443", false},
		{"[::1]", "[0:0:0:0:0:0:0:1]:80", "80", true},
		{"[::1]", "::1", "80", true},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1", "80", true},
		{"[fe80::1]", "[fe80::2]", "80", false},
		{"10.0.0.1:80", "10.0.0.1", "80", true},
		{"10.0.0.1:80", "10.0.0.1:81", "80", false},
		{"", "", "80", false},
		{":80", ":80", "80", false},
		{".", ".", "80", false},
		{"a:b:c", "a:b:c", "80", false},
		{"[a]", "[a]", "80", false},
		{"[::1", "[::1", "80", false},
	} {
		if got := hostport.Equal(test.a, test.b, test.port); got != test.want {
			t.Errorf("Equal(%q, %q, %s) = %v, want %v", test.a, test.b, test.port, got, test.want)
		}
		if got := hostport.Equal(test.b, test.a, test.port); got != test.want {
			t.Errorf("Equal(%q, %q, %s) = %v, want %v", test.b, test.a, test.port, got, test.want)
		}
	}
}
