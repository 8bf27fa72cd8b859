package netdev

import (
	"bytes"
	"fmt"
	"testing"

	"doorbell/virtio"
	"doorbell/virtio/backend"
	"doorbell/virtio/loop"

	"pgregory.net/rapid"
)

func newLoop(tb tester, cfg loop.Config) *loop.Loop {
	tb.Helper()
	l, err := loop.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

var kinds = []struct {
	name string
	off  uint64
}{
	{"split", packed | eventIdx}, {"split-event", packed}, {"packed", eventIdx}, {"packed-event", 0}, {"packed-direct", indirect},
}

// echo sends frames of many lengths and wants them back as they were, with addresses exchanged.
func echo(g *guest, pair, times int, lengths ...int) {
	g.tb.Helper()
	for i := range times {
		n := lengths[i%len(lengths)]
		f := ethernet([]byte{2, 9, 9, 9, 9, 9}, n-14, byte(i))
		copy(f[6:], testMAC) // the destination of what comes back
		g.send(pair, f)
		r := g.receive(pair)
		want := append(append(bytes.Clone(f[6:12]), f[:6]...), f[12:]...)
		if !bytes.Equal(r.frame, want) {
			g.tb.Fatalf("pair %d, frame %d of %d bytes comes back with %d bytes", pair, i, len(f), len(r.frame))
		}
		if r.header.NumBuffers != uint16(r.chains) || r.report != 0 {
			g.tb.Fatalf("header %+v", r.header)
		}
	}
}

// Frames go through with every feature, without any, and with each one off, in both kinds of ring.
func TestFeaturesOffOneAtATime(t *testing.T) {
	type off struct {
		name   string
		device uint64
		refuse uint64
	}
	offs := []off{{"nothing", 0, 0}, {"everything", ^uint64(0), 0}, {"everything refused", 0, ^uint64(virtio.FeatureVersion1)}}
	for _, f := range Features {
		offs = append(offs, off{f.Name, f.Bit, 0})
	}
	for _, o := range offs {
		for _, k := range kinds[:4] {
			t.Run(o.name+"/"+k.name, func(t *testing.T) {
				g := newGuest(t, setup{backend: newLoop(t, loop.Config{Queues: 2, Echo: true}), disable: o.device, transport: k.off, refuse: o.refuse &^ (packed | eventIdx)})
				defer g.close()
				g.start()
				if o.device != ^uint64(0) && g.features&o.device != 0 {
					t.Fatalf("features %#x", g.features)
				}
				if err := checkFeatures(g.features); err != nil {
					t.Fatal(err)
				}
				echo(g, 0, 20, 60, 1514, 15, 590)
				if g.features&FeatureMQ != 0 {
					g.do(4, 0, 2, 0)
					echo(g, 1, 20, 60, 1514)
				}
				if faults := g.observed(); len(faults) > 0 {
					t.Error(faults)
				}
			})
		}
	}
}

// Every mode of waiting moves frames, more than a ring holds, on several pairs at once.
func TestModes(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block, Spin} {
		for _, k := range kinds {
			t.Run(fmt.Sprint(mode, "/", k.name), func(t *testing.T) {
				g := newGuest(t, setup{backend: newLoop(t, loop.Config{Queues: 2, Echo: true, Backlog: 4096}), io: mode, transport: k.off, queueSize: 64})
				defer g.close()
				g.start()
				g.do(4, 0, 2, 0)
				const frames = 1500
				sent, got := [2]int{}, [2]int{}
				g.until("all frames are back", func() bool {
					for pair := range 2 {
						for sent[pair] < frames && sent[pair]-got[pair] < 200 {
							f := append(make([]byte, g.headerLen()), ethernet([]byte{2, 1, 1, 1, 1, 1}, 50+sent[pair]%900, byte(sent[pair]))...)
							copy(f[g.headerLen()+6:], testMAC)
							if !g.queues[2*pair+1].post(f, 600) {
								break
							}
							sent[pair]++
						}
						for {
							r, ok := g.poll(pair)
							if !ok {
								break
							}
							if n := got[pair]; len(r.frame) != 64+n%900 || r.frame[14] != byte(n) {
								t.Fatalf("pair %d: frame %d has %d bytes", pair, n, len(r.frame))
							}
							got[pair]++
						}
					}
					return got[0] == frames && got[1] == frames
				})
				for i := range 4 {
					s := g.device.QueueStats(i)
					// A transmitter counts a frame after it has handed it on, and by then it may be back.
					g.until("all frames are counted", func() bool { return s.Packets.Load() >= frames })
					if s.Packets.Load() != frames || s.Drops.Total() != 0 {
						t.Errorf("queue %d: %d packets, drops %v", i, s.Packets.Load(), s.Drops.ByReason())
					}
				}
			})
		}
	}
}

// A frame is spread over as many buffers as it needs, whatever their sizes, and its header counts them.
func TestMergeableBuffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(kinds).Draw(t, "ring")
		w := newWire(1)
		s := setup{backend: w, transport: k.off, receiveSize: 4096, queueSize: 128}
		if rapid.Bool().Draw(t, "without hash") {
			s.disable = FeatureHashReport
		}
		g := newGuest(t, s)
		defer g.close()
		g.start()
		q := g.queues[0]
		// All buffers are with the device; from now on they have other sizes.
		q.sizes = rapid.SliceOfN(rapid.IntRange(g.headerLen(), 3000), 1, 7).Draw(t, "sizes")
		q.sizes = append(q.sizes, 1500) // so that the ring holds the longest frame
		g.do(0, 0, 1)
		var want [][]byte
		for i := range rapid.IntRange(1, 60).Draw(t, "frames") {
			long := rapid.IntRange(0, 1500).Draw(t, "length")
			h := backend.Header{NumBuffers: 1}
			if rapid.IntRange(0, 4).Draw(t, "segmented") == 0 {
				h.Flags, h.GSOType, h.GSOSize = 1, 1, 1448
				long = rapid.IntRange(0, 15000).Draw(t, "length")
			}
			f := ethernet(testMAC, long, byte(i))
			want = append(want, f)
			w.putHeader(0, h, f)
			if rapid.Bool().Draw(t, "receive") {
				r := g.receive(0)
				if !bytes.Equal(r.frame, want[0]) {
					t.Fatalf("%d bytes in %d buffers instead of %d bytes", len(r.frame), r.chains, len(want[0]))
				}
				want = want[1:]
			}
		}
		for _, f := range want {
			if r := g.receive(0); !bytes.Equal(r.frame, f) {
				t.Fatalf("%d bytes in %d buffers instead of %d bytes", len(r.frame), r.chains, len(f))
			}
		}
		if d := g.device.QueueStats(0).Drops.Total(); d != 0 {
			t.Fatalf("drops %v", g.device.QueueStats(0).Drops.ByReason())
		}
	})
}
