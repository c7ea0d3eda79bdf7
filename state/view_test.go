package state

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func mustNew[T any](t testing.TB, root *T, opts ...Option) *Sync {
	t.Helper()
	s, err := New(root, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustTick(t testing.TB, s *Sync) {
	t.Helper()
	if err := s.Tick(s.tick + 1); err != nil {
		t.Fatal(err)
	}
}

// client is a view with the decoder of its client.
type client struct {
	t testing.TB
	v *View
	d *Decoder
}

func newClient(t testing.TB, s *Sync, owner any) *client {
	t.Helper()
	d, err := NewDecoder(s.Schema().JSON)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, s.NewView(owner), d}
}

// flush passes the next message to the decoder and returns its length.
func (c *client) flush() int {
	c.t.Helper()
	msg := c.v.Append(nil)
	if err := c.d.Decode(msg); err != nil {
		c.t.Fatalf("Decode(%x): %v", msg, err)
	}
	return len(msg)
}

// keys returns the keys of one map in the client's state.
func (c *client) keys(name string) []string {
	c.t.Helper()
	v, ok := c.d.Get(name)
	if !ok {
		c.t.Fatalf("the client has no %s", name)
	}
	var keys []string
	for k := range v.(map[string]any) {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *client) get(path ...string) any {
	c.t.Helper()
	v, ok := c.d.Get(path...)
	if !ok {
		c.t.Fatalf("the client has no %s", strings.Join(path, "."))
	}
	return v
}

type dots struct{ Dots Map[int, dot] }

func line(n int) *dots {
	w := &dots{}
	for i := range n {
		w.Dots.Put(i, &dot{X: float32(i)})
	}
	return w
}

func TestViewHysteresis(t *testing.T) {
	w := line(1)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	for i, step := range []struct {
		x    float32
		want int
	}{{101, 0}, {100, 1}, {101, 1}, {107.9, 1}, {108.1, 0}, {107.9, 0}, {100.1, 0}, {-100, 1}} {
		w.Dots.Get(0).X = step.x
		mustTick(t, s)
		c.v.Near(&w.Dots, 0, 0, 100)
		c.flush()
		if got := len(c.keys("dots")); got != step.want {
			t.Errorf("step %d: at %v the client has %d entries, want %d", i, step.x, got, step.want)
		}
	}
	mustTick(t, s)
	c.flush()
	if got := len(c.keys("dots")); got != 1 {
		t.Errorf("without a call the client has %d entries, want all", got)
	}
}

func TestViewLimitsWhatEnters(t *testing.T) {
	w := line(10)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	c.v.Limit(3)
	for i, want := range []string{"[4 5 6]", "[2 3 4 5 6 7]", "[2 3 4 5 6 7 9]"} {
		mustTick(t, s)
		c.v.Near(&w.Dots, 5, 0, 3)
		if i == 2 {
			c.v.Show(&w.Dots, 9, 0)
		}
		c.flush()
		// 2 and 8 are at the same distance. The lower handle is sent first, and 8 waits.
		if got := fmt.Sprint(c.keys("dots")); got != want && i < 2 {
			t.Errorf("flush %d: the client has %s, want %s", i, got, want)
		}
	}
	if got := fmt.Sprint(c.keys("dots")); got != "[2 3 4 5 6 7 8 9]" {
		t.Errorf("the client has %s", got)
	}
	// The limit holds without a selection too, including for snapshots.
	c.v.Reset()
	for _, want := range []int{3, 6, 9, 10, 10} {
		mustTick(t, s)
		c.flush()
		if got := len(c.keys("dots")); got != want {
			t.Errorf("the client has %d entries, want %d", got, want)
		}
	}
	for i := range 7 {
		w.Dots.Put(100+i, &dot{})
	}
	for _, want := range []int{13, 16, 17} {
		mustTick(t, s)
		c.flush()
		if got := len(c.keys("dots")); got != want {
			t.Errorf("the client has %d entries, want %d", got, want)
		}
	}
}

type party struct {
	Round   int
	Plan    string `state:"level=2"`
	Members Map[playerID, member0]
}

type member0 struct {
	X, Y  int
	Hand  []uint8 `state:"owner"`
	Plans string  `state:"level=2"`
}

func TestViewLevels(t *testing.T) {
	w := &party{Plan: "attack"}
	for i := range playerID(3) {
		w.Members.Put(i+1, &member0{X: int(i), Hand: []uint8{uint8(i)}, Plans: "p"})
	}
	s := mustNew(t, w, Owner[playerID]())
	ann, spectator, admin := newClient(t, s, playerID(1)), newClient(t, s, nil), newClient(t, s, nil)
	admin.v.Level(15)
	mustTick(t, s)
	for _, c := range []*client{ann, spectator, admin} {
		c.flush()
	}
	hands := func(c *client) string {
		return fmt.Sprintf("%v %v %v %v",
			c.get("members", "1", "hand"), c.get("members", "2", "hand"), c.get("members", "2", "plans"), c.get("plan"))
	}
	check := func(c *client, want string) {
		t.Helper()
		if got := hands(c); got != want {
			t.Errorf("the client has %q, want %q", got, want)
		}
	}
	check(ann, "[0] []  ")
	check(spectator, "[] []  ")
	check(admin, "[0] [1] p attack")

	// The level of one entry changes and changes back.
	mustTick(t, s)
	ann.v.Show(&w.Members, playerID(2), 1)
	ann.flush()
	check(ann, "[0] [1]  ")
	w.Members.Get(2).Hand = append(w.Members.Get(2).Hand, 9)
	mustTick(t, s)
	ann.v.Show(&w.Members, playerID(2), 2)
	ann.flush()
	check(ann, "[0] [1 9] p ")
	mustTick(t, s)
	if n := ann.flush(); n == 0 {
		t.Error("hiding a level sent nothing")
	}
	check(ann, "[0] []  ")

	// A level for the whole map is sent as a snapshot.
	mustTick(t, s)
	ann.v.Level(2)
	ann.flush()
	check(ann, "[0] [1 9] p attack")
	ann.v.Show(&w.Members, playerID(9), 2) // unknown keys are ignored
	mustTick(t, s)
	if n := ann.flush(); n != 0 {
		t.Errorf("nothing changed, and the message has %d bytes", n)
	}
}

func TestViewNegativeLevel(t *testing.T) {
	w := &party{Plan: "attack"}
	w.Members.Put(1, &member0{Hand: []uint8{7}, Plans: "p"})
	s := mustNew(t, w, Owner[playerID]())
	ann, spectator := newClient(t, s, playerID(1)), newClient(t, s, nil)
	mustTick(t, s)
	for _, c := range []*client{ann, spectator} {
		c.v.Level(-1)
		c.flush()
	}
	w.Members.Get(1).X++
	mustTick(t, s)
	for c, hand := range map[*client]string{ann: "[7]", spectator: "[]"} {
		if c.v.Level(-3); c.v.reset {
			t.Error("a change from one negative level to another makes a snapshot")
		}
		c.flush()
		got := fmt.Sprintf("%v %v %v %v", c.get("members", "1", "x"), c.get("members", "1", "hand"), c.get("members", "1", "plans"), c.get("plan"))
		if want := "1 " + hand + "  "; got != want {
			t.Errorf("at a negative level, the client has %q, want %q", got, want)
		}
	}
}

func TestViewAlwaysSeesItsOwn(t *testing.T) {
	w := &party{}
	w.Members.Put(1, &member0{X: 500})
	w.Members.Put(2, &member0{X: 0})
	s := mustNew(t, w, Owner[playerID]())
	c := newClient(t, s, playerID(1))
	mustTick(t, s)
	c.v.Near(&w.Members, 0, 0, 5)
	c.flush()
	if got := fmt.Sprint(c.keys("members")); got != "[1 2]" {
		t.Errorf("near another, the client has %s", got)
	}
	mustTick(t, s)
	c.v.Hide(&w.Members)
	c.flush()
	if got := fmt.Sprint(c.keys("members")); got != "[1]" {
		t.Errorf("after Hide, the client has %s", got)
	}
}

func TestViewSkippedTickMakesSnapshot(t *testing.T) {
	w := line(3)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	if got := c.v.Append(nil); len(got) != 0 {
		t.Errorf("before the first Tick: Append = %x", got)
	}
	mustTick(t, s)
	c.flush()
	if got := c.v.Append(nil); len(got) != 0 {
		t.Errorf("twice in a tick: Append = %x", got)
	}
	w.Dots.Delete(1)
	mustTick(t, s)
	w.Dots.Put(7, &dot{X: 70}) // reuses the freed handle
	mustTick(t, s)
	mustTick(t, s)
	msg := c.v.Append(nil)
	if msg[0]&headSnapshot == 0 {
		t.Errorf("after skipped ticks: Append = %x, want a snapshot", msg)
	}
	if err := c.d.Decode(msg); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.keys("dots")); got != "[0 2 7]" || c.d.Tick() != 4 {
		t.Errorf("the client has %s at tick %d", got, c.d.Tick())
	}
	// A new view does not contain changes that handlers made after the last tick.
	w.Dots.Get(7).X = 71
	w.Dots.Delete(0)
	c.v.Reset()
	c.flush()
	if got := fmt.Sprint(c.keys("dots"), c.get("dots", "7", "x")); got != "[0 2 7] 70" {
		t.Errorf("a snapshot between ticks has %s", got)
	}
}

func TestViewAck(t *testing.T) {
	w := line(1)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	c.v.Ack(7)
	mustTick(t, s)
	c.flush()
	if c.d.Ack() != 7 {
		t.Errorf("Ack() = %d, want 7", c.d.Ack())
	}
	c.v.Ack(math.MaxUint32)
	c.v.Ack(8) // an older number
	mustTick(t, s)
	if n := c.flush(); n != 6 || c.d.Ack() != math.MaxUint32 {
		t.Errorf("%d bytes, Ack() = %d, want 6 bytes and the largest number", n, c.d.Ack())
	}
	if err := s.Tick(1000); err != nil {
		t.Fatal(err)
	}
	if n := c.flush(); n != 0 || c.d.Tick() != 2 {
		t.Errorf("nothing to say: %d bytes, tick %d", n, c.d.Tick())
	}
	w.Dots.Get(0).X = 1
	if err := s.Tick(1001); err != nil {
		t.Fatal(err)
	}
	c.flush()
	if c.d.Tick() != 1001 {
		t.Errorf("Tick() = %d, want 1001", c.d.Tick())
	}
}

func TestViewCountsMessages(t *testing.T) {
	w := line(3)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	c.v.CountMessages()
	for i, change := range []bool{false, true, false, true, true} {
		if change {
			w.Dots.Get(1).X++
		}
		if err := s.Tick(uint64(10 + 7*i)); err != nil {
			t.Fatal(err)
		}
		c.flush()
	}
	if got := c.d.Tick(); got != 4 {
		t.Errorf("Tick = %d after a snapshot and 3 patches, want 4", got)
	}
	c.v.Reset()
	mustTick(t, s)
	c.flush()
	if got := c.d.Tick(); got != 5 {
		t.Errorf("Tick = %d after a second snapshot, want 5", got)
	}
}

func TestTickErrors(t *testing.T) {
	root := struct {
		Gold  int
		Mood  mood `state:"enum=a|b"`
		Rows  []int64
		Users map[string]uint64
		Units Map[playerID, bag]
		Open  []*bag
		After int
	}{Gold: 1, Rows: []int64{1, 2}, Users: map[string]uint64{"ann": 1}, Open: []*bag{{}}}
	root.Units.Put(7, &bag{Gold: 3})
	s := mustNew(t, &root)
	c := newClient(t, s, nil)
	mustTick(t, s)
	c.flush()
	root.Gold, root.Mood, root.Rows[1], root.Users["ann"], root.Units.Get(7).Gold = 1<<52+1, 2, -1<<52-1, 1<<63, 1<<60
	root.Open[0].Gold = math.MinInt64
	root.After = 1 << 52
	err := s.Tick(2)
	want := `state: Gold: 4503599627370497 is beyond 2^52: tag the field big
state: Mood: 2 is not one of the 2 texts of the enum
state: Rows[1]: -4503599627370497 is beyond 2^52: tag the field big
state: Users["ann"]: 9223372036854775808 is beyond 2^52: tag the field big
state: Units[7].Gold: 1152921504606846976 is beyond 2^52: tag the field big
state: Open[0].Gold: -9223372036854775808 is beyond 2^52: tag the field big`
	if err == nil || err.Error() != want {
		t.Errorf("Tick = %v\nwant %s", err, want)
	}
	c.flush()
	got := fmt.Sprintf("%v %v %v %v %v %v",
		c.get("gold"), c.get("mood"), c.get("rows"), c.get("users"), c.get("units", "7", "gold"), c.get("after"))
	if want := "1 a [1 2] map[ann:1] 3 4503599627370496"; got != want {
		t.Errorf("the client has %s, want %s", got, want)
	}
	if err := s.Tick(2); err == nil {
		t.Error("the same tick twice: no error")
	}
}

func TestTickBoundsEntries(t *testing.T) {
	root := struct {
		Plain map[string]bool
		Typed Map[string, dot]
	}{Plain: map[string]bool{}}
	s := mustNew(t, &root)
	c := newClient(t, s, nil)
	for _, r := range s.regions {
		r.m.n = maxEntries - 1 // simulates so many entries
	}
	for _, k := range []string{"a", "b", "c"} {
		root.Plain[k] = true
		root.Typed.Put(k, &dot{})
	}
	err := s.Tick(1)
	want := "state: Plain: more than 1048576 entries\nstate: Typed: more than 1048576 entries"
	if err == nil || err.Error() != want {
		t.Errorf("Tick = %v, want %s", err, want)
	}
	c.flush()
	if got := fmt.Sprint(c.keys("plain"), c.keys("typed")); got != "[a] [a]" {
		t.Errorf("the client has %s, want the first of each", got)
	}
	for _, r := range s.regions {
		r.m.n = 1
	}
	mustTick(t, s)
	c.flush()
	if got := fmt.Sprint(c.keys("plain"), c.keys("typed")); got != "[a b c] [a b c]" {
		t.Errorf("once there is room, the client has %s", got)
	}
}

func TestSelectionsPanic(t *testing.T) {
	w := &party{}
	s := mustNew(t, w, Owner[playerID]())
	v := s.NewView(nil)
	other := line(0)
	flat := struct{ M map[string]int }{}
	u := mustNew(t, &flat).NewView(nil)
	for name, f := range map[string]func(){
		"another map":         func() { v.Near(&other.Dots, 0, 0, 1) },
		"no map":              func() { v.Hide(&w.Round) },
		"a key's type":        func() { v.Show(&w.Members, 1, 1) },
		"an owner's type":     func() { s.NewView(1) },
		"entries not located": func() { u.Near(&flat.M, 0, 0, 1) },
		"nil":                 func() { w.Members.Put(1, nil) },
	} {
		func() {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "state: ") {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			f()
			t.Errorf("%s: no panic", name)
		}()
	}
}

// cardTable is a card game. The second deck provides the values that a player does not
// see.
type cardTable struct {
	Turn    int
	Stock   []uint8 `state:"level=3"`
	Players Map[playerID, cardPlayer]
	Plain   map[playerID]*cardPlayer
}

type cardPlayer struct {
	Name   string
	X, Y   float32 `state:"q=0.1"`
	Hand   []uint8 `state:"owner"`
	Bank   int     `state:"owner"`
	Stash  *bag    `state:"owner"`
	Orders string  `state:"level=2"`
}

// TestHiddenFieldsCauseNoBytes plays each game twice. In the second game the fields that
// one player does not see have other values. The bytes for that player must be equal.
func TestHiddenFieldsCauseNoBytes(t *testing.T) {
	play := func(seed, hidden uint64, near bool) (out [][]byte, silent int) {
		pub, priv := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, hidden))
		w := &cardTable{Plain: map[playerID]*cardPlayer{}}
		s := mustNew(t, w, Owner[playerID]())
		v := s.NewView(playerID(1))
		for range 300 {
			for range pub.IntN(3) {
				id := playerID(1 + pub.IntN(6))
				p := w.Players.Get(id)
				switch k := pub.IntN(8); {
				case p == nil:
					p = &cardPlayer{Name: fmt.Sprint("p", id), X: pub.Float32() * 50}
					w.Players.Put(id, p)
					w.Plain[id] = p
				case k == 0 && id != 1:
					w.Players.Delete(id)
					delete(w.Plain, id)
				case k < 4:
					p.X, p.Y = pub.Float32()*50, pub.Float32()*50
				}
			}
			for id, p := range w.Players.All() {
				r := priv
				if id == 1 {
					r = pub
				}
				if r.IntN(3) > 0 {
					continue
				}
				switch r.IntN(4) {
				case 0:
					p.Hand = append(p.Hand, uint8(r.IntN(52)))
				case 1:
					p.Hand = nil
				case 2:
					p.Bank += r.IntN(1000)
				case 3:
					p.Stash = &bag{Gold: r.IntN(9), Items: map[string]int64{"a": r.Int64()}}
				}
				p.Orders = fmt.Sprint(priv.IntN(3))
			}
			w.Stock = append(w.Stock[:0], uint8(priv.IntN(3)))
			mustTick(t, s)
			if near {
				v.Near(&w.Players, 25, 25, 20)
				v.Near(&w.Plain, 25, 25, 20)
			}
			msg := v.Append(nil)
			if len(msg) == 0 {
				silent++
			}
			out = append(out, msg)
		}
		return out, silent
	}
	for seed := range uint64(20) {
		near := seed%2 == 1
		first, silent := play(seed, 100, near)
		second, _ := play(seed, 200, near)
		if silent == 0 {
			t.Errorf("seed %d: every tick sent a message", seed)
		}
		for i := range first {
			if !bytes.Equal(first[i], second[i]) {
				t.Fatalf("seed %d, tick %d: %x, with other hidden values %x", seed, i, first[i], second[i])
			}
		}
	}
}

func TestSameGameMakesSameBytes(t *testing.T) {
	play := func() (out []byte) {
		w := newWorld(5)
		for range 200 {
			err := w.step(func(*peer) {}, func(p *peer, msg []byte, _ any) error {
				out = append(out, msg...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	if !bytes.Equal(play(), play()) {
		t.Error("the same game made other bytes")
	}
}

func TestSteadyTickDoesNotAllocate(t *testing.T) {
	type world struct {
		Round int
		Ships Map[playerID, benchShip]
		Cards map[playerID]*cardPlayer
		Score map[string]int
	}
	w := &world{Cards: map[playerID]*cardPlayer{}, Score: map[string]int{"a": 1, "b": 2}}
	for i := range playerID(300) {
		w.Ships.Put(i+1000, &benchShip{X: float32(i), Y: float32(i)})
		w.Cards[i+1000] = &cardPlayer{X: float32(i), Hand: []uint8{1, 2, 3}}
	}
	s := mustNew(t, w, Owner[playerID]())
	mine, all := s.NewView(playerID(1005)), s.NewView(nil)
	buf := make([]byte, 0, 1<<16)
	step := func() {
		w.Round++
		w.Score["a"]++
		for _, p := range w.Ships.All() {
			p.X += 0.1
			p.HP++
		}
		for _, p := range w.Cards {
			p.X += 0.1
			p.Hand[1]++
		}
		mustTick(t, s)
		mine.Near(&w.Ships, float32(w.Round), 5, 50)
		mine.Near(&w.Cards, float32(w.Round%50), 5, 50)
		mine.Show(&w.Ships, playerID(1200), 1)
		mine.Ack(uint32(w.Round))
		buf = mine.Append(buf[:0])
		buf = all.Append(buf[:0])
	}
	for range 300 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("a steady tick allocates %v times", n)
	}
}
