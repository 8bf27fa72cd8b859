//go:build lab

package tests

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/netconf"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/virtio/netdev"
	"doorbell/vmm"
)

// guestKernel is one of the kernels whose drivers the card meets.
type guestKernel struct {
	name string
	args []string
}

// guestKernels are the default one, of Debian bookworm, and trixie's.
var guestKernels = []guestKernel{{"default", nil}, {"trixie", []string{"-k", "debian:trixie"}}}

// featureCase is one guest whose card lacks a feature.
type featureCase struct {
	kernel guestKernel
	ring   string // split or packed
	off    string // a feature's name as the specification has it, or empty
}

// featureBytes is what each guest moves in each direction.
const featureBytes = 1 << 20

// run boots the guest, moves data through its card and checks what became of the features. Then, if it is not nil, it has more done to the
// guest. It returns the account of the card.
func (c featureCase) run(t testing.TB, l link, more func(*session)) *vmm.NetAccount {
	t.Helper()
	var off []string
	if c.ring == "split" {
		off = append(off, "ring_packed")
	}
	if c.off != "" {
		off = append(off, strings.ToLower(c.off))
	}
	l.net += ",queues=2"
	if off != nil {
		l.net += ",off=" + strings.Join(off, "+")
	}
	s := startSession(t, l, trafficWorkload, append([]string{"-c", "1", "-m", "256M"}, c.kernel.args...)...)
	s.carries(featureBytes)
	if more != nil {
		more(s)
	}
	guest := s.snapshot()
	_, d := s.end()
	n := d.VM.Net
	if n.NeedsReset || len(n.Events) > 0 {
		t.Errorf("the card had trouble: NEEDS_RESET %v, events %v", n.NeedsReset, n.Events)
	}
	if n.Ring == nil || *n.Ring != c.ring {
		t.Errorf("rings %v, want %s", n.Ring, c.ring)
	}
	if seen := netdev.FeatureNames(guest.VirtioFeatures); !slices.Equal(seen, n.Features) {
		t.Errorf("the driver says that it negotiated\n%v; the report says\n%v", seen, n.Features)
	}
	if c.off != "" && (slices.Contains(n.Offered, c.off) || slices.Contains(n.Features, c.off)) {
		t.Errorf("%s is off, but offered %v, negotiated %v", c.off, n.Offered, n.Features)
	}
	var in, out uint64
	for _, q := range n.Queues {
		switch q.Queue[:2] {
		case "rx":
			in += q.Bytes
		case "tx":
			out += q.Bytes
		}
		for why, lost := range q.Drops {
			// Linux's IPv6 announcements, which user-mode networking does not carry and which no filter of the guest's takes.
			if why != "backend_protocol" && why != "filter" {
				t.Errorf("%s dropped %d: %s", q.Queue, lost, why)
			}
		}
	}
	if in < featureBytes || out < featureBytes {
		t.Errorf("%d bytes in, %d out, of %d", in, out, featureBytes)
	}
	return n
}

// carries moves bytes over TCP in each direction, compares their digests, and has the shortest and long datagrams answered.
func (s *session) carries(bytes uint64) {
	s.Helper()
	o := traffic.StreamOptions{BytesPerFlow: bytes, Check: wire.CheckSHA256, Seed: 1}
	need[traffic.StreamResult](s)(s.StreamUp(s.ctx, o))
	need[traffic.StreamResult](s)(s.StreamDown(s.ctx, o))
	for _, size := range []int{0, 1400} {
		r := need[traffic.RoundTripResult](s)(s.RoundTrips(s.ctx, traffic.RoundTripOptions{Count: 10, Bytes: size, UDP: true, Timeout: timeout}))
		if r.Lost > 0 {
			s.Errorf("%d of 10 datagrams of %d bytes were not answered", r.Lost, size)
		}
	}
}

// changes has the driver take its queues down and up again, one at a time and with other lengths by resetting them, and all of them.
func (s *session) changes() {
	s.Helper()
	for _, r := range []netconf.Rings{{Rx: 64, Tx: 32}, {Rx: 256, Tx: 256}} {
		now := s.configure(wire.Configure{Rings: &r})
		if now.Rings == nil || now.Rings.Rx != r.Rx || now.Rings.Tx != r.Tx {
			s.Errorf("rings %+v, want %+v", now.Rings, r)
		}
		s.carries(featureBytes / 4)
	}
	for _, n := range []int{2, 1} {
		if now := s.configure(wire.Configure{Combined: n}); now.Channels == nil || now.Channels.Combined != uint32(n) {
			s.Errorf("channels %+v, want %d", now.Channels, n)
		}
		s.carries(featureBytes / 4)
	}
}

// lacks compares a card without a feature with the same driver's on a whole card: it uses all that is still offered and that it used there.
func (c featureCase) lacks(t testing.TB, n, whole *vmm.NetAccount) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(n.Offered), func(f string) bool { return !slices.Contains(whole.Features, f) })
	if !slices.Equal(n.Features, want) {
		t.Errorf("without %s the driver negotiated\n%v, want\n%v", c.off, n.Features, want)
	}
}

// every boots more guests than fit into a short run.
var every = flag.Bool("every", false, "turn each of the card's features off with every kernel and with both kinds of rings, not with one of each")

// TestFeatures: the drivers of both kernels carry data over split and over packed rings with all that the card offers, and with every
// feature off, one at a time. A boot costs seconds on an emulated host; so there each feature is off with one kernel and one kind of ring
// only, neighbours with different ones, unless -every asks for all four.
func TestFeatures(t *testing.T) {
	var combinations []featureCase
	for _, ring := range []string{"split", "packed"} {
		for _, k := range guestKernels {
			combinations = append(combinations, featureCase{kernel: k, ring: ring})
		}
	}
	whole := map[string]*vmm.NetAccount{}
	key := func(c featureCase) string { return c.kernel.name + "/" + c.ring }
	for _, c := range combinations {
		t.Run("whole/"+key(c), func(t *testing.T) {
			guestTest(t, func(t testing.TB) { whole[key(c)] = c.run(t, userLink(), (*session).changes) })
		})
		if whole[key(c)] == nil {
			return
		}
	}
	offered := whole[key(combinations[0])].Offered
	offered = slices.DeleteFunc(slices.Clone(offered), func(f string) bool {
		return f == "VERSION_1" || f == "RING_PACKED" // there is no card without the one, and split rings are those without the other
	})
	t.Run("off", func(t *testing.T) {
		for i, f := range offered {
			for j, c := range combinations {
				if *every || j == i%len(combinations) {
					c.off = f
					t.Run(strings.ToLower(f)+"/"+key(c), func(t *testing.T) {
						guestTest(t, func(t testing.TB) { c.lacks(t, c.run(t, userLink(), nil), whole[key(c)]) })
					})
				}
			}
		}
	})
	// What only a tap offers, and only trixie's driver knows all of.
	c := combinations[len(combinations)-1]
	t.Run("tap", func(t *testing.T) {
		l := tapLink(t)
		var tapped *vmm.NetAccount
		guestTest(t, func(t testing.TB) { tapped = c.run(t, l, nil) })
		if tapped == nil {
			return
		}
		for _, f := range tapped.Offered {
			if !slices.Contains(whole[key(c)].Offered, f) {
				c.off = f
				t.Run("off/"+strings.ToLower(f), func(t *testing.T) {
					guestTest(t, func(t testing.TB) { c.lacks(t, c.run(t, l, nil), tapped) })
				})
			}
		}
	})
}
