package dispatch_test

import (
	"testing"
	"testing/synctest"

	"github.com/lonng/nano/session"
)

// TestInterrupt checks that Interrupt ends one Wait although the mailbox is full.
func TestInterrupt(t *testing.T) {
	var gate chan struct{}
	inBed(t, nil, with("desk", &desk{raw: func(*session.Session, []byte) error {
		<-gate
		return nil
	}}), func(b *bed) {
		gate = make(chan struct{}) // made inside the synctest bubble
		b.box.Init(b.Dispatcher, b.session, b.entity, 4, 1000)
		for range 4 {
			b.send(notify("desk.Raw", ""))
		}
		returned := make(chan struct{}, 2)
		wait := func() {
			b.box.Wait()
			returned <- struct{}{}
		}
		for range 2 {
			go wait()
			synctest.Wait()
			if len(returned) != 0 {
				t.Fatal("Wait returned while the mailbox was full, and nobody had called Interrupt")
			}
			b.box.Interrupt()
			<-returned
		}
		b.box.Interrupt() // interrupts the next Wait
		wait()
		<-returned
		close(gate)
	})
}
