package state

import (
	"errors"
	"testing"
)

// FuzzDecode checks that decoding any message succeeds or returns ErrMalformed, and that
// the decoder accepts a snapshot afterwards.
func FuzzDecode(f *testing.F) {
	w := newWorld(1)
	w.join()
	p := w.peers[0]
	var snapshot []byte
	for i := range 40 {
		err := w.step(func(*peer) {}, func(q *peer, msg []byte, _ any) error {
			if q == p && len(msg) > 0 {
				if msg[0]&headSnapshot != 0 && i > 20 {
					snapshot = msg
				}
				f.Add(msg)
			}
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	if snapshot == nil {
		p.view.Reset()
		snapshot = p.view.Append(nil)
	}
	schema := w.sync.Schema().JSON
	f.Fuzz(func(t *testing.T, msg []byte) {
		d, err := NewDecoder(schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(snapshot); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(msg); err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("Decode = %v, want ErrMalformed", err)
		}
		d.State()
		if err := d.Decode(snapshot); err != nil {
			t.Errorf("a snapshot after %x: %v", msg, err)
		}
	})
}

// FuzzSchema parses arbitrary schemas.
func FuzzSchema(f *testing.F) {
	f.Add(newWorld(1).sync.Schema().JSON, []byte{7, 0})
	f.Add(newWorld(2).sync.Schema().JSON, []byte{7, 0, 0x7f, 1, 0, 0})
	f.Add(`[["A",["x","obj",1]],["B",["y","list",["struct",2]]],["C",["z","turn",3]]]`, []byte{7, 0, 1, 1, 1})
	f.Fuzz(func(t *testing.T, schema string, msg []byte) {
		d, err := NewDecoder(schema)
		if err != nil {
			return
		}
		if err := d.Decode(msg); err == nil {
			d.State()
		}
	})
}

// FuzzFollow plays the random state of an arbitrary seed.
func FuzzFollow(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed, uint8(30))
	}
	f.Fuzz(func(t *testing.T, seed uint64, ticks uint8) {
		w := newWorld(seed)
		for range ticks {
			err := w.step(func(*peer) {}, func(p *peer, msg []byte, want any) error {
				if err := p.dec.Decode(msg); err != nil {
					return err
				}
				if d := differ(p.dec.State(), want, "state"); d != "" {
					return errors.New(d)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
