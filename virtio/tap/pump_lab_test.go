//go:build lab

package tap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// pump is what a virtual machine between two networks would be: it carries the frames of one tap to another, headers and all.
// So Linux's own TCP is at both ends, and makes and takes segmented frames as a guest's does.
type pump struct {
	a, b           *Tap
	group          sync.WaitGroup
	stop           [2]int // a pipe
	segmented, all [2]atomic.Int64
	longest        [2]atomic.Int64
}

func startPump(t *testing.T, a, b *Tap) *pump {
	t.Helper()
	p := &pump{a: a, b: b}
	if err := unix.Pipe2(p.stop[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for i := range a.Queues() {
		p.group.Go(func() { p.carry(t, a.Queue(i), b.Queue(i), 0) })
		p.group.Go(func() { p.carry(t, b.Queue(i), a.Queue(i), 1) })
	}
	return p
}

func (p *pump) close() {
	unix.Close(p.stop[1])
	p.group.Wait()
	unix.Close(p.stop[0])
}

func (p *pump) carry(t *testing.T, from, to backend.Queue, direction int) {
	buf := make([]byte, backend.MaxFrame)
	in, out := [][]byte{buf}, [][]byte{nil}
	ready := []unix.PollFd{{Fd: int32(from.FD()), Events: unix.POLLIN}, {Fd: int32(p.stop[0])}}
	for {
		if n := from.Receive(in); n > 0 {
			p.all[direction].Add(1)
			if buf[1] != backend.GSONone {
				p.segmented[direction].Add(1)
			}
			for old := p.longest[direction].Load(); int64(n) > old && !p.longest[direction].CompareAndSwap(old, int64(n)); {
				old = p.longest[direction].Load()
			}
			out[0] = buf[:n]
			to.Transmit(out)
			continue
		}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			t.Error(err)
			return
		}
		if ready[1].Revents != 0 {
			return
		}
	}
}

// side is one of the two networks.
type side struct {
	tap      *Tap
	v4, v6   net.IP
	listener map[string]*net.TCPListener
	sockets  func(f func()) // runs f where sockets are of this network
}

func makeSide(t *testing.T, name string, number byte, queues int, sockets func(f func())) *side {
	t.Helper()
	s := &side{
		v4: net.IPv4(10, 9, 0, number).To4(), v6: net.IP{0xfd, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, number},
		listener: map[string]*net.TCPListener{}, sockets: sockets,
	}
	sockets(func() {
		l := makeInterface(t, name, unix.IFF_TAP|unix.IFF_MULTI_QUEUE)
		setUp(t, l.index)
		s.tap = open(t, name, queues)
		if err := s.tap.SetActive(queues); err != nil {
			t.Error(err)
		}
		address(t, l.index, s.v4, 24)
		address(t, l.index, s.v6, 64)
		for network, ip := range map[string]net.IP{"tcp4": s.v4, "tcp6": s.v6} {
			listener, err := net.ListenTCP(network, &net.TCPAddr{IP: ip})
			if err != nil {
				t.Errorf("%s: %v", network, err)
				return
			}
			t.Cleanup(func() { listener.Close() })
			s.listener[network] = listener
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return s
}

// transfer connects and moves data both ways at the same time.
func transfer(t *testing.T, network string, from, to *side, data [2][]byte) {
	t.Helper()
	accepted := make(chan error, 1)
	go func() {
		c, err := to.listener[network].AcceptTCP()
		if err == nil {
			err = exchange(c, data[1], data[0])
		}
		accepted <- err
	}()
	var c *net.TCPConn
	var err error
	from.sockets(func() {
		// The first attempts may find the interfaces not active yet.
		for attempt := 0; attempt < 20; attempt++ {
			if c, err = net.DialTCP(network, nil, to.listener[network].Addr().(*net.TCPAddr)); err == nil {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(exchange(c, data[0], data[1]), <-accepted); err != nil {
		t.Errorf("%s: %v", network, err)
	}
}

// exchange sends and receives, and compares.
func exchange(c *net.TCPConn, send, want []byte) error {
	defer c.Close()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(send)
		failed <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err == nil && (len(got) != len(want) || sha256.Sum256(got) != sha256.Sum256(want)) {
		err = fmt.Errorf("%d bytes arrived that are not the %d sent", len(got), len(want))
	}
	return errors.Join(err, <-failed)
}

func TestStreams(t *testing.T) {
	here := func(f func()) { f() }
	work := make(chan func())
	defer close(work)
	done := make(chan struct{})
	go onThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
		for f := range work {
			f()
			done <- struct{}{}
		}
	})
	there := func(f func()) { work <- f; <-done }

	const queues = 2
	a, b := makeSide(t, "tap0", 1, queues, here), makeSide(t, "tap1", 2, queues, there)
	source := rand.NewChaCha8([32]byte{9})
	var data [2][]byte
	for i := range data {
		data[i] = make([]byte, 3<<20+i*4321)
		source.Read(data[i])
	}
	everything := backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN
	const mtuFrame = backend.HeaderLen + backend.EthernetLen + 1500
	for _, tc := range []struct {
		name    string
		accept  backend.Offloads
		network string
		long    bool
	}{
		{"all, IPv4", everything, "tcp4", true}, {"all, IPv6", everything, "tcp6", true},
		{"TSO4, IPv6", backend.Checksum | backend.TSO4, "tcp6", false}, {"TSO6, IPv4", backend.Checksum | backend.TSO6, "tcp4", false},
		{"checksums", backend.Checksum, "tcp4", false}, {"nothing, IPv4", 0, "tcp4", false}, {"nothing, IPv6", 0, "tcp6", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, s := range []*side{a, b} {
				if err := s.tap.SetOffloads(tc.accept); err != nil {
					t.Fatal(err)
				}
			}
			p := startPump(t, a.tap, b.tap)
			transfer(t, tc.network, a, b, data)
			p.close()
			for d := range 2 {
				longest, segmented, all := p.longest[d].Load(), p.segmented[d].Load(), p.all[d].Load()
				t.Logf("direction %d: %d frames, %d segmented, the longest %d bytes", d, all, segmented, longest)
				if tc.long && (segmented == 0 || longest <= mtuFrame) || !tc.long && (segmented != 0 || longest > mtuFrame) {
					t.Errorf("direction %d: %d frames, %d segmented, the longest %d bytes", d, all, segmented, longest)
				}
			}
			for i := range queues {
				for _, s := range []*side{a, b} {
					if drops := s.tap.queues[i].counters.Drops(); drops.Total() != drops.Load(backend.DropOffload) {
						t.Errorf("%v: drops %v", s.tap, drops.ByReason())
					}
				}
			}
		})
	}
	if bytes.Equal(data[0], data[1]) {
		t.Error("both directions had the same data")
	}
}
