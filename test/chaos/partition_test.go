package chaos_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/testkit"
)

var partitionTime = flag.Duration("partition", 0, "how long TestClusterPartition parts the nodes; 6 s by default, 45 s in CI")

// cable is two network namespaces with a virtual cable between them.
type cable struct {
	t     testing.TB
	names [2]string
	addrs [2]string
}

// newCable creates the namespaces. It skips the test if that is not possible, unless
// NANO_REQUIRE_NETNS is set.
func newCable(t testing.TB) *cable {
	t.Helper()
	id := os.Getpid() % 10000
	c := &cable{t: t, addrs: [2]string{"198.18.77.1", "198.18.77.2"}}
	for i := range c.names {
		c.names[i] = fmt.Sprintf("nano%d-%d", id, i)
		if out, err := exec.Command("ip", "netns", "add", c.names[i]).CombinedOutput(); err != nil {
			if os.Getenv("NANO_REQUIRE_NETNS") != "" {
				t.Fatalf("ip netns add: %v: %s", err, out)
			}
			t.Skipf("no network namespaces here: %v: %s", err, out)
		}
		t.Cleanup(func() { c.ip("netns", "del", c.names[i]) })
	}
	ends := [2]string{fmt.Sprintf("n%da", id), fmt.Sprintf("n%db", id)}
	c.ip("link", "add", ends[0], "netns", c.names[0], "type", "veth", "peer", "name", ends[1], "netns", c.names[1])
	for i, end := range ends {
		c.ip("-n", c.names[i], "link", "set", end, "name", "cable")
		c.ip("-n", c.names[i], "addr", "add", c.addrs[i]+"/24", "dev", "cable")
		c.ip("-n", c.names[i], "link", "set", "cable", "up")
		c.ip("-n", c.names[i], "link", "set", "lo", "up")
	}
	return c
}

func (c *cable) ip(args ...string) {
	c.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// cut makes packets vanish in both directions. Each side sends them to a hardware address
// that does not exist.
func (c *cable) cut() {
	for i := range c.names {
		c.ip("-n", c.names[i], "neigh", "replace", c.addrs[1-i], "lladdr", "02:00:00:00:00:99", "dev", "cable", "nud", "permanent")
	}
}

// mend restores the hardware addresses.
func (c *cable) mend() {
	for i := range c.names {
		c.ip("-n", c.names[i], "neigh", "del", c.addrs[1-i], "dev", "cable")
	}
}

// spawn starts a process on one side of the cable.
func (c *cable) spawn(side int, name, seeds string) *nodeCmd {
	c.t.Helper()
	spec := nodeSpec{Name: name, Listen: c.addrs[side] + ":0", Seeds: seeds}
	return spawn(c.t, spec, "ip", "netns", "exec", c.names[side])
}

// has waits until a process reports another one as up or down.
func (p *nodeCmd) has(other *nodeCmd, up bool) {
	p.t.Helper()
	testkit.Eventually(p.t, fmt.Sprintf("%s sees %s, up %v", p.spec.Name, other.spec.Name, up), func() bool {
		is := false
		for _, m := range p.ask(asked{}).Members {
			is = is || m.Addr == other.addr() && m.Up
		}
		return is == up
	})
}

// TestClusterPartition checks that both halves of a divided cluster continue, and join
// again when packets pass. With -partition 45s the gossip has also forgotten the other
// half.
func TestClusterPartition(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	length := 6 * time.Second
	if *partitionTime > 0 {
		length = *partitionTime
	}
	c := newCable(t)
	a := c.spawn(0, "a", "")
	b := c.spawn(0, "b", a.addr())
	x := c.spawn(1, "x", a.addr())
	y := c.spawn(1, "y", a.addr()+","+x.addr())
	here, there := []*nodeCmd{a, b}, []*nodeCmd{x, y}
	across := func(up bool) {
		for _, p := range here {
			for _, o := range there {
				p.has(o, up)
				o.has(p, up)
			}
		}
	}
	answers := func(from, to *nodeCmd) {
		t.Helper()
		if v := from.ask(asked{Call: to.spec.Name + ".Name"}); v.Reply != fmt.Sprintf("%q", to.spec.Name) {
			t.Errorf("%s calls %s: %q, %s", from.spec.Name, to.spec.Name, v.Reply, v.Err)
		}
	}
	a.has(b, true)
	x.has(y, true)
	across(true)
	answers(a, x)
	answers(y, b)

	cut := time.Now()
	c.cut()
	across(false)
	inTime(t, "each half has given up the other", time.Since(cut), 4*time.Second)
	answers(a, b)
	answers(y, x)
	if v := a.ask(asked{Call: "x.Name"}); !strings.Contains(v.Err, "NANO-503") {
		t.Errorf("a calls x: %q, %q, want NANO-503", v.Reply, v.Err)
	}
	time.Sleep(time.Until(cut.Add(length)))
	answers(b, a)
	answers(x, y)

	mended := time.Now()
	c.mend()
	across(true)
	inTime(t, "they are one again", time.Since(mended), 5*time.Second)
	answers(a, y)
	answers(x, b)
}
