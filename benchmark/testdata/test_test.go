package testdata

import (
	"bytes"
	"testing"

	"github.com/golang/protobuf/proto"
)

// TestWireFormat checks that the encoding does not change, because published clients and
// servers depend on it.
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
