package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/carry"
)

func TestParseResume(t *testing.T) {
	asked := resumeRequest{asked: true}
	for body, want := range map[string]resumeRequest{
		``: {}, `{}`: {}, `5`: {}, `null`: {}, `[]`: {}, `{"sys":5}`: {}, `{"sys":null}`: {}, `{"sys":[{"resume":{}}]}`: {},
		`{"sys":{"resume":null}}`: {}, `{"sys":{"Resume":{}}}`: {}, `{"Sys":{"resume":{}}}`: {}, `{"resume":{}}`: {},
		`{"sys":{"resume":{}}}`:                                             asked,
		`{"sys":{"resume":{"token":null,"received":null}}}`:                 asked,
		`{"sys":{"resume":{"Token":5,"more":[1]}}}`:                         asked,
		`{"sys":{"resume":{"received":7}}}`:                                 {asked: true, received: 7},
		`{"sys":{"resume":{"token":""}}}`:                                   {asked: true, hasToken: true},
		`{"sys":{"resume":{"token":"ab","received":0}}}`:                    {asked: true, token: "ab", hasToken: true},
		`{"sys":{"resume":{"token":"\u0061","received":9007199254740991}}}`: {asked: true, token: "a", hasToken: true, received: maxCount},
	} {
		if got, err := parseResume([]byte(body)); err != nil || got != want {
			t.Errorf("parseResume(%s) = %+v, %v, want %+v", body, got, err, want)
		}
	}
	for _, part := range []string{`5`, `"x"`, `[]`, `true`, `{"token":5}`, `{"token":{}}`, `{"token":["a"]}`, `{"received":-1}`, `{"received":"5"}`,
		`{"received":1.5}`, `{"received":9007199254740992}`, `{"received":1e30}`, `{"received":{}}`, `{"received":true}`} {
		if got, err := parseResume([]byte(`{"sys":{"resume":` + part + `}}`)); err == nil || got.asked {
			t.Errorf("parseResume(%s) = %+v, %v, want an error", part, got, err)
		}
	}
}

func FuzzParseResume(f *testing.F) {
	for _, s := range []string{`{"sys":{"resume":{"token":"abc","received":12}}}`, `{"sys":{"resume":{}}}`, `{"sys":{"resume":5}}`, `{"sys":1}`, ``, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseResume(body)
		if err != nil && (r != resumeRequest{}) || r.received > maxCount || !r.asked && (r != resumeRequest{}) {
			t.Errorf("parseResume(%s) = %+v, %v", body, r, err)
		}
		if err != nil && !json.Valid(body) {
			t.Errorf("parseResume(%q) refuses what is no JSON, which the handshake does", body)
		}
		if k, ok := parseToken(r.token); ok && k.text() != r.token {
			t.Errorf("the token %q is %q", r.token, k.text())
		}
	})
}

func TestParseAck(t *testing.T) {
	for body, want := range map[string]uint64{"\x00": 0, "\x01": 1, "\x7f": 127, "\x80\x01": 128, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": 1<<64 - 1} {
		if got, err := parseAck([]byte(body)); err != nil || got != want {
			t.Errorf("parseAck(%x) = %d, %v, want %d", body, got, err, want)
		}
	}
	for _, body := range []string{"", "\x80", "\x80\x00", "\x81\x80\x00", "\x01\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
		strings.Repeat("\x80", 10) + "\x01", "\x00\x00"} {
		if got, err := parseAck([]byte(body)); err == nil {
			t.Errorf("parseAck(%x) = %d, want an error", body, got)
		}
	}
}

func FuzzParseAck(f *testing.F) {
	for _, b := range []string{"", "\x00", "\x80\x01", "\x80\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseAck(b)
		if shortest := binary.AppendUvarint(nil, n); (err == nil) && !bytes.Equal(shortest, b) {
			t.Errorf("parseAck(%x) = %d, whose shortest form is %x", b, n, shortest)
		}
		if m, size := binary.Uvarint(b); err != nil && size == len(b) && bytes.Equal(binary.AppendUvarint(nil, m), b) {
			t.Errorf("parseAck(%x) = %v, want %d", b, err, m)
		}
	})
}

func TestTokens(t *testing.T) {
	var here, other tokens
	here.init()
	other.init()
	name := carry.NameOf("10.0.0.1:1", 1)
	seen := map[token]bool{}
	for _, id := range []int64{1, 2, 1 << 40, -1} {
		for n := range uint64(3) {
			k := here.issue(name, id, n)
			if gotID, gotN := here.read(k); k.name() != name || gotID != id || gotN != n {
				t.Errorf("token %d of session %d reads as %d of %d, from %x", n, id, gotN, gotID, k.name())
			}
			if gotID, gotN := other.read(k); gotID == id || gotN == n {
				t.Errorf("another server reads token %d of session %d as %d of %d", n, id, gotN, gotID)
			}
			if got, ok := parseToken(k.text()); !ok || got != k || len(k.text()) != 30 {
				t.Errorf("parseToken(%q) = %v, %v", k.text(), got, ok)
			}
			seen[k] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d tokens differ, want 12", len(seen))
	}
	for _, s := range []string{"", "abc", strings.Repeat("a", 31), strings.Repeat("=", 30), strings.Repeat("\n", 30), strings.Repeat("_", 30)} {
		if _, ok := parseToken(s); ok {
			t.Errorf("parseToken(%q) = true", s)
		}
	}
}

func TestValidTokens(t *testing.T) {
	for _, test := range []struct {
		tokens validTokens
		want   []uint64
	}{
		{validTokens{1, 1}, []uint64{1}},
		{validTokens{3, 5}, []uint64{3, 4, 5}},
		{validTokens{1, 8}, []uint64{1, 2, 3, 4, 5, 6, 7, 8}},
		{validTokens{1, 9}, []uint64{1, 3, 4, 5, 6, 7, 8, 9}},
		{validTokens{1, 12}, []uint64{1, 6, 7, 8, 9, 10, 11, 12}},
	} {
		var got []uint64
		for n := range uint64(20) {
			if test.tokens.has(n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, test.want) || len(got) > maxTokens {
			t.Errorf("the valid tokens of %+v are %d, want %d", test.tokens, got, test.want)
		}
	}
}

// TestEndedSessionsAreBounded checks that the records of ended sessions take a bounded
// amount of memory, and that the oldest go first.
func TestEndedSessionsAreBounded(t *testing.T) {
	const sessions, size = 1000, 16 << 10
	var k tokens
	k.init()
	for id := range int64(sessions) {
		k.end(&ended{session: id, tokens: validTokens{1, 1}, reason: reasonEnded, kick: make([]byte, size), until: time.Now().Add(time.Hour)})
	}
	kept, most := len(k.ended), maxEnded/size
	if kept != len(k.queue) || kept > most || kept < most-10 || k.cost > maxEnded {
		t.Errorf("%d records with a cost of %d are kept, and %d in the queue, want at most %d", kept, k.cost, len(k.queue), most)
	}
	for id := range int64(sessions) {
		if found := k.find(id, 1) != nil; found != (id >= int64(sessions-kept)) {
			t.Errorf("the record of session %d is found: %v", id, found)
		}
	}
}
