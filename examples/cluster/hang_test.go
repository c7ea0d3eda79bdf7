//go:build unix

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHangingNode checks that the cluster treats a stopped process as lost, and accepts
// it again when it continues.
func TestHangingNode(t *testing.T) {
	s := open(t)
	var people []*person
	var names []string
	for i := range 4 {
		p := arrive(t, s.gates[i%2])
		people = append(people, p)
		p.login(fmt.Sprintf("Person %d", i))
		names = append(names, fmt.Sprintf(`"Person %d"`, i))
		for _, p := range people {
			p.hears(fmt.Sprintf(`onNewUser {"content":"Person %d joined"}`, i))
		}
	}
	everybody := func() {
		t.Helper()
		for _, p := range people {
			p.hears(`onMembers {"members":[` + strings.Join(names, ",") + `]}`)
		}
	}
	talk(people, "hello")
	for i, hung := range s.chats {
		began := time.Now()
		if err := hung.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		everybody()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the people of a node that hangs were elsewhere after %v, want some 3 s", took)
		}
		talk(people, fmt.Sprint("chat node hangs ", i))
		if err := hung.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		// The node that stops next has to know this node as up. New members learn the
		// members from the node they join.
		for known := false; !known; {
			late := arrive(t, s.gates[0])
			late.login("Late")
			late.hears(`onNewUser {"content":"Late joined"}`)
			late.say("anybody?")
			late.hears(`onMessage {"name":"Late","content":"anybody?"}`)
			known = hears(people, `onMessage {"name":"Late","content":"anybody?"}`)
			_ = late.Close()
		}
		everybody()
		talk(people, fmt.Sprint("chat node is back ", i))
	}
}

// hears reports whether everybody hears a message before the timeout.
func hears(people []*person, want string) bool {
	deadline := time.After(time.Second)
	for _, p := range people {
		for heard := false; !heard; {
			select {
			case got := <-p.heard:
				heard = got == want
			case <-deadline:
				return false
			}
		}
	}
	return true
}
