package snowflake_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/snowflake"
)

func generator(t testing.TB, node uint64) *snowflake.Generator {
	t.Helper()
	g, err := snowflake.New(node)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// parts returns the parts of an id, as the package documentation defines them.
func parts(id int64) (ms, node, sequence int64) {
	return id >> 22, id >> 6 & 0xFFFF, id & 63
}

func TestNodes(t *testing.T) {
	if snowflake.MaxNode != 65535 {
		t.Errorf("MaxNode = %d, want 65535", snowflake.MaxNode)
	}
	for _, node := range []uint64{0, 1, 1023, 0x8001, snowflake.MaxNode} {
		if _, got, _ := parts(generator(t, node).Next()); got != int64(node) {
			t.Errorf("an id of node %d bears node %d", node, got)
		}
	}
	for _, node := range []uint64{snowflake.MaxNode + 1, 1 << 32, 1<<64 - 1} {
		if g, err := snowflake.New(node); err == nil || g != nil {
			t.Errorf("New(%d) = %v, %v, want an error: it is too large", node, g, err)
		}
	}
}

func TestIDsGrow(t *testing.T) {
	g := generator(t, snowflake.MaxNode)
	last := int64(0)
	for range 100_000 { // more ids than the elapsed milliseconds allow
		id := g.Next()
		if id <= last {
			t.Fatalf("Next() = %d after %d, want it to grow and be above 0", id, last)
		}
		last = id
	}
}

// fresh is the node of a generator that has made no ids.
var fresh = int64(1000)

func TestIDsTellTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(epoch.Add(1000 * time.Hour)))
		fresh++
		g := generator(t, uint64(fresh))
		for i := range int64(3) {
			want := (1000 * time.Hour).Milliseconds() + 7*i
			for sequence := range int64(64) {
				if ms, node, seq := parts(g.Next()); ms != want || node != fresh || seq != sequence {
					t.Fatalf("id of %d ms, node %d, sequence %d, want %d ms, node %d, sequence %d",
						ms, node, seq, want, fresh, sequence)
				}
			}
			time.Sleep(7 * time.Millisecond)
		}
		// IDs beyond the limit of a millisecond use the next milliseconds.
		start := milliseconds(g.Next())
		for range 64 * 10 {
			g.Next()
		}
		if ms := milliseconds(g.Next()); ms != start+10 {
			t.Errorf("640 ids later the time is %d ms on, want 10", ms-start)
		}
	})
}

func milliseconds(id int64) int64 {
	ms, _, _ := parts(id)
	return ms
}

// TestClockBeforeTheEpoch checks that ids grow even if the clock is before the epoch, as
// on a machine without a clock.
func TestClockBeforeTheEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fake time begins in the year 2000
		fresh++
		g := generator(t, uint64(fresh))
		last := int64(0)
		for range 1000 {
			id := g.Next()
			if id <= last {
				t.Fatalf("Next() = %d after %d, want it to grow and be above 0", id, last)
			}
			last = id
		}
	})
}

// TestIDsAreUniqueAcrossGoroutinesAndServers checks that generators with the same node
// number do not repeat an id. Two servers in a process share the number.
func TestIDsAreUniqueAcrossGoroutinesAndServers(t *testing.T) {
	const each = 5000
	generators := []*snowflake.Generator{generator(t, 1), generator(t, 2), generator(t, 1)}
	ids := make([][]int64, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			g := generators[i%len(generators)]
			for range each {
				ids[i] = append(ids[i], g.Next())
			}
		})
	}
	wg.Wait()
	seen := make(map[int64]string, len(ids)*each)
	for i, list := range ids {
		last := int64(0)
		for _, id := range list {
			if other, ok := seen[id]; ok {
				t.Fatalf("id %d was given to goroutine %d and to %s", id, i, other)
			}
			seen[id] = fmt.Sprint("goroutine ", i)
			if id <= last {
				t.Fatalf("goroutine %d got %d after %d, want it to grow", i, id, last)
			}
			last = id
		}
	}
}

func BenchmarkNext(b *testing.B) {
	g := generator(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		g.Next()
	}
}
