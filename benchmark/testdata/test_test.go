package testdata

import (
	"bytes"
	"testing"

	"github.com/golang/protobuf/proto"
)

// Published clients and servers agree on these bytes.
func TestWireFormat(t *testing.T) {
	for _, test := range []struct {
		message proto.Message
		want    string
	}{
		{&Ping{Content: "hello"}, "\x0a\x05hello"},
		{&Pong{Content: "hello"}, "\x12\x05hello"},
	} {
		got, err := proto.Marshal(test.message)
		if err != nil || !bytes.Equal(got, []byte(test.want)) {
			t.Errorf("Marshal(%v) = %x, %v, want %x", test.message, got, err, test.want)
		}
	}
}
