package agent

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestKeepSmall checks that small payloads, which share blocks, are never overwritten: not
// by payloads of other connections, and not by a program that appends to one.
func TestKeepSmall(t *testing.T) {
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			var got, want [][]byte
			for range 500 {
				data := bytes.Repeat([]byte{byte(r.Uint32())}, 1+r.IntN(maxSmall))
				kept := (&decoder{size: int32(len(data) + 8), ahead: int32(len(data) + 8)}).Keep(data)
				_ = append(kept, "behind"...)
				got, want = append(got, kept), append(want, data)
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("payload %d of seed %d is %v, want %v", i, seed, got[i], want[i])
				}
			}
		})
	}
	wg.Wait()
}

// TestKeepManyInOneBlock checks that the payloads of one read share a block of their own.
func TestKeepManyInOneBlock(t *testing.T) {
	d := decoder{size: 20, ahead: 200}
	for i := range 10 {
		if got := d.Keep(bytes.Repeat([]byte{byte(i)}, 16)); len(got) != 16 || got[0] != byte(i) || cap(got) != 16 {
			t.Errorf("payload %d is %v with room for %d bytes", i, got, cap(got))
		}
	}
	if len(d.block) != 160 || cap(d.block) > 200 {
		t.Errorf("the block has %d of %d bytes, want 160 of about as many", len(d.block), cap(d.block))
	}
}

func BenchmarkKeep(b *testing.B) {
	b.ReportAllocs()
	data := make([]byte, 64)
	for b.Loop() {
		d := decoder{size: 72, ahead: 72}
		d.Keep(data)
	}
}
