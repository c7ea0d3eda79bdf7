// Package nanotest runs a server and its clients in memory, for the tests of programs that use
// nano. Messages pass through hooks, handshake, codec, scheduler and serializer as in production;
// only the network is replaced.
//
//	func TestSay(t *testing.T) {
//		srv, _ := start(t)
//		ann, bob := srv.Connect(t), srv.Connect(t)
//		for _, p := range []*nanotest.Player{ann, bob} {
//			if err := p.Request(t.Context(), "Room.Join", nil, nil); err != nil {
//				t.Fatal(err)
//			}
//		}
//		if err := bob.Notify("Room.Say", &Line{Text: "hello"}); err != nil {
//			t.Fatal(err)
//		}
//		var heard Line
//		ann.WaitFor("onSay", time.Second, &heard)
//		if heard.Text != "hello" {
//			t.Errorf("Ann heard %q, want hello", heard.Text)
//		}
//	}
//
//	func start(t *testing.T) (*nanotest.Server, *Room) {
//		room := &Room{group: nano.NewGroup("lobby")}
//		rooms := &component.Components{}
//		rooms.Register(room)
//		return nanotest.Start(t, nano.WithComponents(rooms), nano.WithSerializer(json.NewSerializer())), room
//	}
//
// The end of the test closes server and players. The test fails if they do not end.
//
// # Fake time
//
// Server and players also run in the fake time of testing/synctest, because their goroutines wait
// only for channels. A timer or a day passes at once, and synctest.Wait returns when every message
// is handled. Create everything inside the bubble, with the t of the bubble.
//
//	func TestTick(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv, room := start(t)
//			srv.Scheduler().NewTimer(10*time.Second, room.Tick)
//			ann := srv.Connect(t)
//			if err := ann.Request(t.Context(), "Room.Join", nil, nil); err != nil {
//				t.Fatal(err)
//			}
//			time.Sleep(65 * time.Second) // heartbeats pass in both directions
//			if n := len(ann.Pushes("onTick")); n != 6 {
//				t.Errorf("%d ticks in 65 s, want one every 10 s", n)
//			}
//		})
//	}
//
// # Lost connections
//
// [Player.Drop] cuts a player's connection, and [Player.Return] lets it reconnect. If the server has nano.WithResume,
// players ask for it, so a player that returns within the window resumes its session and gets the missed messages.
//
//	func TestAway(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			room := &Room{group: nano.NewGroup("lobby")}
//			rooms := &component.Components{}
//			rooms.Register(room)
//			srv := nanotest.Start(t, nano.WithComponents(rooms), nano.WithSerializer(json.NewSerializer()),
//				nano.WithResume(nano.Resume{Window: time.Minute}))
//			ann := srv.Connect(t)
//			if err := ann.Request(t.Context(), "Room.Join", nil, nil); err != nil {
//				t.Fatal(err)
//			}
//			ann.Drop()
//			time.Sleep(59 * time.Second)
//			srv.Do(room.Tick)
//			ann.Return()
//			ann.Wait("onTick", time.Second)
//		})
//	}
//
// A unit test of one handler needs no server: see package mock.
package nanotest
