package relay

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

var introductions = []introduction{
	{},
	{uid: 7, network: "tcp", address: "192.0.2.1:4711"},
	{uid: 1<<63 - 1, network: "tcp", address: "[2001:db8::1]:1", routes: map[string]string{"Room": "10.0.0.1:34567"}},
	{network: "pipe", address: "memory", routes: map[string]string{"a": "b", "": "", "c": "d"}},
}

func sameIntroduction(a, b introduction) bool {
	return a.uid == b.uid && a.network == b.network && a.address == b.address && maps.Equal(a.routes, b.routes)
}

func TestIntroduction(t *testing.T) {
	for _, want := range introductions {
		b := want.append(nil)
		got, err := parseIntroduction(b)
		if err != nil || !sameIntroduction(got, want) {
			t.Errorf("parseIntroduction(%x) = %+v, %v, want %+v", b, got, err, want)
		}
		if a := got.addr(); a.Network() != want.network || a.String() != want.address {
			t.Errorf("the address is %s %s, want %s %s", a.Network(), a, want.network, want.address)
		}
		for n := range b {
			if got, err := parseIntroduction(b[:n]); err == nil {
				t.Errorf("parseIntroduction(%x) = %+v, want an error: it is cut short", b[:n], got)
			}
		}
		if _, err := parseIntroduction(append(b, 0)); err == nil {
			t.Errorf("parseIntroduction(%x) = nil, want an error: there is more than one", append(b, 0))
		}
	}
	many := introduction{routes: map[string]string{}}
	for i := range maxRoutes + 10 {
		many.routes[fmt.Sprint(i)] = "x"
	}
	if got, err := parseIntroduction(many.append(nil)); err != nil || len(got.routes) != maxRoutes {
		t.Errorf("of %d services %d arrived, %v, want %d", len(many.routes), len(got.routes), err, maxRoutes)
	}
	for name, b := range map[string][]byte{
		"a uid below 0":      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0},
		"a string too long":  {0, 5, 'a', 0, 0},
		"too many services":  {0, 0, 0, 0x81, 0x08},
		"services that lack": {0, 0, 0, 2, 1, 'a', 1, 'b'},
	} {
		if got, err := parseIntroduction(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: parseIntroduction(%x) = %+v, %v, want errMalformed", name, b, got, err)
		}
	}
}

func FuzzIntroduction(f *testing.F) {
	for _, i := range introductions {
		f.Add(i.append(nil), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		i, err := parseIntroduction(b)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("parseIntroduction(%x) = %v, want errMalformed", b, err)
			}
			return
		}
		again, err := parseIntroduction(i.append(nil))
		if err != nil || !sameIntroduction(i, again) {
			t.Fatalf("%+v encoded and parsed: %+v, %v", i, again, err)
		}
		if n := int(cut); n < len(b) {
			if part, err := parseIntroduction(b[:n]); err == nil {
				t.Fatalf("the first %d bytes of %x are %+v, want an error", n, b, part)
			}
		}
	})
}

func TestLogins(t *testing.T) {
	want := []login{{session: 1, uid: 2, old: 3, when: 4}, {session: 1<<63 - 1, uid: 0, old: 1<<63 - 1, when: 0}, {session: 5, uid: 6}}
	var b []byte
	for _, l := range want {
		b = l.append(b)
	}
	var got []login
	if err := parseLogins(b, func(l login) { got = append(got, l) }); err != nil || !slices.Equal(got, want) {
		t.Errorf("parseLogins(%x) = %v, %v, want %v", b, got, err, want)
	}
}

func FuzzLogins(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(login{session: 300, uid: 7, when: 1 << 60}.append(login{session: 1, old: 9}.append(nil)), uint16(5))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var all []login
		err := parseLogins(b, func(l login) { all = append(all, l) })
		if err != nil && !errors.Is(err, errMalformed) {
			t.Fatalf("parseLogins(%x) = %v, want errMalformed", b, err)
		}
		var again []byte
		for _, l := range all {
			if l.session < 0 || l.uid < 0 || l.old < 0 || l.when < 0 {
				t.Fatalf("parseLogins(%x) has %+v, want nothing below 0", b, l)
			}
			again = l.append(again)
		}
		var same []login
		if err := parseLogins(again, func(l login) { same = append(same, l) }); err != nil || !slices.Equal(all, same) {
			t.Fatalf("%v encoded and parsed: %v, %v", all, same, err)
		}
		var part []login
		_ = parseLogins(b[:min(int(cut), len(b))], func(l login) { part = append(part, l) })
		if len(part) > len(all) || !slices.Equal(part, all[:len(part)]) {
			t.Fatalf("the first %d bytes of %x hold %v, all of it %v", cut, b, part, all)
		}
	})
}

func FuzzIDs(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(appendIDs(nil, []int64{1, 300, 1<<63 - 1, -1}), uint16(4))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var all []int64
		err := parseIDs(b, func(id int64) { all = append(all, id) })
		if err != nil && !errors.Is(err, errMalformed) {
			t.Fatalf("parseIDs(%x) = %v, want errMalformed", b, err)
		}
		var same []int64
		if err := parseIDs(appendIDs(nil, all), func(id int64) { same = append(same, id) }); err != nil || !slices.Equal(all, same) {
			t.Fatalf("%v encoded and parsed: %v, %v", all, same, err)
		}
		var part []int64
		_ = parseIDs(b[:min(int(cut), len(b))], func(id int64) { part = append(part, id) })
		if len(part) > len(all) || !slices.Equal(part, all[:len(part)]) {
			t.Fatalf("the first %d bytes of %x hold %v, all of it %v", cut, b, part, all)
		}
	})
}

func TestReasons(t *testing.T) {
	for _, reason := range reasons {
		var f link.Frame
		putReason(&f, reason)
		if len(f.Data) != 0 || reasonOf(&f) != reason {
			t.Errorf("%v arrived as %v", reason, reasonOf(&f))
		}
		f = link.Frame{}
		putReason(&f, fmt.Errorf("%w: a header of 3 bytes", reason))
		if got := reasonOf(&f); !errors.Is(got, reason) || got.Error() != reason.Error()+": a header of 3 bytes" {
			t.Errorf("%v with more to it arrived as %v", reason, got)
		}
	}
	var f link.Frame
	putReason(&f, errMalformed)
	if got := reasonOf(&f); !errors.Is(got, session.ErrClosed) || got.Error() != errMalformed.Error() {
		t.Errorf("a reason of no session arrived as %v", got)
	}
	if got := reasonOf(&link.Frame{ID: 1 << 40}); got != session.ErrClosed {
		t.Errorf("a reason that is not known = %v, want ErrClosed", got)
	}
}

func TestLater(t *testing.T) {
	for _, c := range []struct {
		a, b login
		want bool
	}{
		{login{session: 1, when: 2}, login{session: 2, when: 1}, true},
		{login{session: 2, when: 1}, login{session: 1, when: 2}, false},
		{login{session: 2, when: 1}, login{session: 1, when: 1}, true},
		{login{session: 1, when: 1}, login{session: 2, when: 1}, false},
		{login{session: 1, when: 1}, login{session: 1, when: 1}, false},
	} {
		if got := c.a.later(c.b); got != c.want {
			t.Errorf("%+v.later(%+v) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// TestFailure checks that an error matches both its code and its cause.
func TestFailure(t *testing.T) {
	for err, want := range map[error]error{link.ErrDown: errDown, link.ErrQueueFull: errQueueFull, link.ErrStopped: link.ErrStopped} {
		got := sendError(err)
		if got != want || !errors.Is(got, err) {
			t.Errorf("sendError(%v) = %v, want %v", err, got, want)
		}
	}
	if sendError(nil) != nil {
		t.Error("sendError(nil) is an error")
	}
	refused := message.Errorf("GAME-1", "no")
	for err, cause := range map[error]error{errDown: link.ErrDown, errQueueFull: link.ErrQueueFull, refused: nil} {
		var f link.Frame
		public, _ := errors.AsType[*message.Error](err)
		putError(&f, err, public)
		got := failureOf(&f)
		if got.Error() != err.Error() || errors.Is(got, link.ErrDown) != (cause == link.ErrDown) || errors.Is(got, link.ErrQueueFull) != (cause == link.ErrQueueFull) {
			t.Errorf("%v came as %v, want cause %v", err, got, cause)
		}
	}
}

// TestKinds checks that the numbers of the frame kinds do not change. They are part of
// the protocol between nodes.
func TestKinds(t *testing.T) {
	kinds := []any{
		kindRequest, kindNotify, kindClosed, kindUID, kindRoute, kindResponse, kindPush, kindKick, kindClose, kindDone,
		kindRPC, kindMulticast, kindCall, kindReturn, kindCancel, kindLogins, kindPushUser, kindKickUser,
		kindCarry, kindBytes, kindCredit, kindEnd, kindWill, kindSuspended, kindResumed, kindQueued,
	}
	for i, k := range kinds {
		if got := reflect.ValueOf(k).Uint(); got != uint64(16+i) {
			t.Errorf("kind %d has number %d, want %d", i, got, 16+i)
		}
	}
}
