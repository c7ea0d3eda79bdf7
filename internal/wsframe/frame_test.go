package wsframe

import (
	"bytes"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		payload := bytes.Repeat([]byte("x"), size)
		plain := AppendFrame([]byte("before"), Binary, payload)
		got, _ := reference(&client, plain[len("before"):])
		want := "2 " + strings.Repeat("78", size)
		if len(got) != 1 || got[0] != want {
			t.Errorf("AppendFrame of %d bytes does not decode to them", size)
		}
		late := FinishFrame(append(AppendHeader([]byte("before"), Binary, 0), payload...), len("before"))
		if !bytes.Equal(late, plain) {
			t.Errorf("FinishFrame of %d bytes differs from AppendFrame", size)
		}
		masked := AppendMasked(nil, Binary, [4]byte{1, 2, 3, 4}, payload)
		if got, _ := reference(&server, masked); len(got) != 1 || got[0] != want {
			t.Errorf("AppendMasked of %d bytes does not decode to them", size)
		}
		if size > 0 && payload[0] != 'x' {
			t.Errorf("AppendMasked changes the payload")
		}
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("\u4f60", 60) // 180 bytes
	for _, test := range []struct {
		code   uint16
		reason string
		want   string
	}{
		{0, "", "\x88\x02\x03\xe8"},
		{CodeNoStatus, "", "\x88\x00"},
		{CodeMessageTooBig, "", "\x88\x02\x03\xf1"},
		{CodePolicyViolation, "rate", "\x88\x06\x03\xf0rate"},
		{CodeGoingAway, long, "\x88\x7d\x03\xe9" + long[:123]},
		{CodeGoingAway, "a" + long, "\x88\x7b\x03\xe9a" + long[:120]},
	} {
		if got := string(AppendClose(nil, test.code, test.reason)); got != test.want {
			t.Errorf("AppendClose(%d, %q) = %x, want %x", test.code, test.reason, got, test.want)
		}
	}
}
