package console_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/console"
)

type sessionList struct {
	Total, Searched int
	Sessions        []struct {
		ID, UID, Address string
		Data             []struct{ Key, Type, Value string }
		More             int
	}
	Next, Problem string
}

func (l sessionList) uids() string {
	var list []string
	for _, s := range l.Sessions {
		list = append(list, s.UID)
	}
	return strings.Join(list, " ")
}

func TestSearch(t *testing.T) {
	b := newBed(t, console.Options{})
	for i, name := range []string{"Ann", "Bob", "Anna"} {
		b.login(int64(i+1), name)
	}
	ann := b.SessionsByUID(1)[0].ID()
	for query, want := range map[string]string{
		"":                         "3 2 1",
		"ann":                      "3 1",
		"BOB":                      "2",
		"2":                        "2",
		strconv.FormatInt(ann, 10): "1",
		"name":                     "3 2 1",
		"nobody":                   "",
		"-1":                       "",
		"99999999999999999999":     "",
	} {
		if got := get[sessionList](b, "sessions?q="+query); got.uids() != want || got.Total != 3 || got.Next != "" || got.Problem != "" {
			t.Errorf("search %q = %s (%+v), want the uids %s", query, got.uids(), got, want)
		}
	}
}

type grade int

func (g grade) String() string { return fmt.Sprintf("grade %d", int(g)) }

type broken struct{}

func (*broken) String() string { panic("broken") }

func TestData(t *testing.T) {
	b := newBed(t, console.Options{})
	b.login(1, "Ann")
	s := b.SessionsByUID(1)[0]
	private := &struct{ secret string }{"hidden"}
	for key, value := range map[string]any{
		"bool": true, "int": -5, "float": 1.5, "grade": grade(3), "duration": time.Second, "struct": private, "map": map[string]int{"a": 1},
		"bytes": []byte("hidden"), "broken": &broken{}, "nil": nil, "nilBroken": (*broken)(nil), "long": strings.Repeat("é", 1000), "markup": "<b>\x00\xff",
	} {
		s.Set(key, value)
	}
	got := get[sessionList](b, "sessions").Sessions[0]
	text := map[string]string{}
	for _, e := range got.Data {
		text[e.Key] = e.Type + "=" + e.Value
	}
	for key, want := range map[string]string{
		"bool": "bool=true", "int": "int=-5", "float": "float64=1.5", "grade": "console_test.grade=grade 3", "duration": "time.Duration=1s",
		"struct": "*struct { secret string }=", "map": "map[string]int=", "bytes": "[]uint8=", "broken": "*console_test.broken=", "nil": "<nil>=",
		"nilBroken": "*console_test.broken=", "long": "string=" + strings.Repeat("é", 100) + "…", "markup": "string=<b>\x00\ufffd", "name": "string=Ann",
	} {
		if text[key] != want {
			t.Errorf("%s is %q, want %q", key, text[key], want)
		}
	}
	if !slices.IsSortedFunc(got.Data, func(a, b struct{ Key, Type, Value string }) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("the data is not sorted: %v", got.Data)
	}
	for i := range 100 {
		s.Set(fmt.Sprintf("more%03d", i), i)
	}
	if got := get[sessionList](b, "sessions").Sessions[0]; len(got.Data) != 50 || got.More != 64 {
		t.Errorf("of 114 values, %d are shown and %d are not, want 50 and 64", len(got.Data), got.More)
	}
}

func TestFormatValue(t *testing.T) {
	b := newBed(t, console.Options{FormatValue: func(key string, value any) string {
		if key == "name" {
			return "***"
		}
		panic("unknown key")
	}})
	b.login(1, "Ann")
	b.SessionsByUID(1)[0].Set("other", 1)
	data := get[sessionList](b, "sessions").Sessions[0].Data
	if len(data) != 2 || data[0].Value != "***" || data[1].Value != "" {
		t.Errorf("the data is %v, want *** and nothing", data)
	}
	if got := get[sessionList](b, "sessions?q=ann"); len(got.Sessions) != 0 {
		t.Errorf("a search finds %v by a value that is hidden", got.Sessions)
	}
}

func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		for i := range 250 {
			b.login(int64(i+1), []string{"even", "odd"}[i%2])
		}
		all := func(query string) (sizes []int, uids []string) {
			next := ""
			for {
				l := get[sessionList](b, "sessions?q="+query+"&before="+next)
				sizes = append(sizes, len(l.Sessions))
				if len(l.Sessions) > 0 {
					uids = append(uids, strings.Fields(l.uids())...)
				}
				if next = l.Next; next == "" {
					return sizes, uids
				}
			}
		}
		var every, odd []string
		for i := 250; i > 0; i-- {
			every = append(every, strconv.Itoa(i))
			if i%2 == 0 {
				odd = append(odd, strconv.Itoa(i)) // uids are one more than the index
			}
		}
		if sizes, uids := all(""); !slices.Equal(sizes, []int{100, 100, 50}) || !slices.Equal(uids, every) {
			t.Errorf("the pages have %v sessions, of the uids %v; want 100, 100, 50, each once", sizes, uids)
		}
		if sizes, uids := all("odd"); !slices.Equal(sizes, []int{100, 25}) || !slices.Equal(uids, odd) {
			t.Errorf("the pages of a search have %v sessions, of the uids %v; want 100, 25, each once", sizes, uids)
		}
	})
}

// While the logic goroutine is stuck, the console shows the sessions without data, and leaves no work behind.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		formatted := 0 // on the logic goroutine
		b := newBed(t, console.Options{FormatValue: func(string, any) string {
			formatted++
			return ""
		}})
		p := b.login(1, "Ann")
		if err := p.Notify("room.wait", nil); err != nil {
			t.Fatal(err)
		}
		<-b.room.began
		for range 3 {
			start := time.Now()
			got := get[sessionList](b, "sessions")
			if d := time.Since(start); d != 2*time.Second {
				t.Errorf("the answer took %v, want 2 s", d)
			}
			if len(got.Sessions) != 1 || got.Sessions[0].UID != "1" || got.Sessions[0].Data != nil || !strings.Contains(got.Problem, "logic goroutine") {
				t.Errorf("the answer is %+v, want the session without data, and the problem", got)
			}
		}
		if n := b.Stats().QueueDepth; n != 1 {
			t.Errorf("%d tasks wait for the logic goroutine, want 1", n)
		}
		if o := get[samples](b, "overview"); len(o.Samples) == 0 {
			t.Error("there are no samples")
		}
		if w := b.ask("POST", "/console/api/kick", operator, `{"uid":"1"}`); w.Code != 200 {
			t.Errorf("a kick = %d %s, want 200", w.Code, w.Body)
		}
		close(b.room.block)
		b.Do(func() {
			if formatted != 0 {
				t.Errorf("the data was read %d times after the requests had ended", formatted)
			}
		})
		p.Kicked(time.Second)
		b.login(2, "Bob")
		if got := get[sessionList](b, "sessions"); got.uids() != "2" || got.Sessions[0].Data == nil || got.Problem != "" {
			t.Errorf("afterwards, the answer is %+v, want the data", got)
		}
	})
}
