//go:build lab

package tap

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"doorbell/virtio/backend"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// steerings are some of each kind: every hash type alone, all, none, tables of one entry and of the most.
func steerings(t testing.TB) (all []*backend.Steering) {
	t.Helper()
	tables := [][]uint16{{3, 1, 0, 2, 1, 3, 2, 0}, {1}, make([]uint16, backend.MaxIndirection), {0, 3}}
	for i := range tables[2] {
		tables[2][i] = uint16(i*7) % 4
	}
	for i, types := range []uint32{
		backend.SupportedHashTypes, backend.HashIPv4, backend.HashTCPv4, backend.HashUDPv4, backend.HashIPv6, backend.HashTCPv6, backend.HashUDPv6, 0,
		backend.HashIPv4 | backend.HashIPv6, backend.HashUDPv4 | backend.HashIPv6, backend.SupportedHashTypes,
	} {
		key := make([]byte, backend.KeyLen)
		for k := range key {
			key[k] = byte(k*73 + i*29 + 5)
		}
		s, err := backend.NewSteering(types, tables[i%len(tables)], uint16(2+i%2), key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// flowFrame is a frame of some flow, of the kinds that steering tells apart: protocols, options, fragments, extension headers, tags.
func flowFrame(r *rand.Rand) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	f := append([]byte(nil), ethernet...)
	if r.IntN(8) == 0 {
		f = append(f, 0x81, 0, 0, 5)
	}
	protocol := []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_FRAGMENT}[[]int{0, 0, 0, 1, 1, 1, 2, 3}[r.IntN(8)]]
	if r.IntN(2) == 0 {
		options := 0
		if r.IntN(4) == 0 {
			options = r.IntN(11)
		}
		f = append(f, 8, 0, byte(0x45+options), 0, 0, 60, 0, 0)
		f = append(f, [][]byte{{0, 0}, {0x40, 0}, {0x20, 0}, {0, 9}, {0x80, 0}}[[]int{0, 1, 1, 1, 2, 3, 4}[r.IntN(7)]]...)
		f = append(f, 64, protocol, 0, 0)
		f = append(f, random(8+4*options)...)
	} else {
		f = append(f, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, protocol, 64)
		f = append(f, random(32)...)
	}
	return append(f, random(20)...)
}

// Each frame comes on the queue that Steering.Queue says.
func TestSteering(t *testing.T) {
	r := newRig(t, 4)
	source := rand.New(rand.NewPCG(1, 2))
	for i, s := range steerings(t) {
		if err := r.SetSteering(s); err != nil {
			t.Fatal(err)
		}
		seen := map[int]int{}
		for range 300 {
			frame := r.sign(flowFrame(source))
			r.inject(r.index, frame)
			queue, got, _ := r.next()
			if want := int(s.Queue(frame)); queue != want {
				t.Fatalf("types %#x: a frame for queue %d came on queue %d: %x", s.Types(), want, queue, frame)
			}
			if string(got) != string(frame) {
				t.Fatalf("another frame: %x, not %x", got, frame)
			}
			seen[queue]++
		}
		if i == 0 && len(seen) != 4 {
			t.Errorf("300 flows used queues %v", seen)
		}
	}
	// With fewer active queues the kernel takes the remainder.
	s := steerings(t)[0]
	if err := errors.Join(r.SetSteering(s), r.SetActive(2)); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		frame := r.sign(flowFrame(source))
		r.inject(r.index, frame)
		if queue, _, _ := r.next(); queue != int(s.Queue(frame))%2 {
			t.Errorf("two active: queue %d, want %d", queue, s.Queue(frame)%2)
		}
	}
	if err := r.SetSteering(nil); err != nil {
		t.Error(err)
	}
	if err := r.SetSteering(nil); err != nil {
		t.Error(err)
	}
}

// A steered flow stays on its queue while steering for others changes.
func TestSteeringChanges(t *testing.T) {
	r := newRig(t, 4)
	all := steerings(t)
	frame := udpFrame(9, nil, false)
	for i := range 20 {
		s := all[i%len(all)]
		if err := r.SetSteering(s); err != nil {
			t.Fatal(err)
		}
		f := r.sign(append([]byte(nil), frame...))
		r.inject(r.index, f)
		if queue, _, _ := r.next(); queue != int(s.Queue(f)) {
			t.Errorf("steering %d: queue %d, want %d", i, queue, s.Queue(f))
		}
	}
}

// A VLAN interface of the host leaves the tag beside the packet. Such a frame is for the queue of a frame with a tag in it.
func TestSteeringVLAN(t *testing.T) {
	source := rand.New(rand.NewPCG(3, 4))
	for i, s := range steerings(t) {
		m, err := steeringTables(s)
		if err != nil {
			t.Fatal(err)
		}
		tagged := append(asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.Mov.Imm(asm.R2, bigEndian16(0x8100)),
			asm.Mov.Imm(asm.R3, 5),
			asm.FnSkbVlanPush.Call(), // which puts the tag there
			asm.Mov.Reg(asm.R1, asm.R6),
		}, steeringProgram(s, m)...)
		// Another type of program, because a socket filter may not push tags.
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: tagged})
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			frame := flowFrame(source)
			answer, err := p.Run(&ebpf.RunOptions{Data: frame})
			if err != nil {
				t.Fatal(err)
			}
			with := append(append(append([]byte(nil), frame[:12]...), 0x81, 0, 0, 5), frame[12:]...)
			if want := s.Queue(with); uint16(answer) != want {
				t.Fatalf("steering %d: the program says %d, not %d: %x", i, answer, want, with)
			}
		}
		p.Close()
	}
}

// A program that the last user left behind does not outlive the next Open.
func TestSteeringLeftBehind(t *testing.T) {
	r := newRig(t, 4)
	s, err := backend.NewSteering(0, []uint16{0}, 3, make([]byte, backend.KeyLen))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetSteering(s); err != nil {
		t.Fatal(err)
	}
	r.inject(r.index, r.sign(udpFrame(9, nil, false)))
	if queue, _, _ := r.next(); queue != 3 {
		t.Errorf("queue %d", queue)
	}
	r.steered = false // as if it was killed
	r.Close()
	r.Tap = open(t, "tap0", 4)
	if err := r.SetActive(4); err != nil {
		t.Fatal(err)
	}
	r.warmUp()
	seen := map[int]int{}
	for flow := range 60 {
		f := udpFrame(9, nil, false)
		binary.BigEndian.PutUint16(f[34:], uint16(1000+flow*37))
		r.inject(r.index, r.sign(f))
		queue, _, _ := r.next()
		seen[queue]++
	}
	if len(seen) != 4 {
		t.Errorf("60 flows used queues %v", seen)
	}
}

// One capability is enough.
func TestSteeringPermitted(t *testing.T) {
	r := newRig(t, 4)
	s := steerings(t)[0]
	onThread(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		data[1].Permitted = 1 << (unix.CAP_BPF - 32)
		data[1].Effective = data[1].Permitted
		if err := errors.Join(unix.Capset(&header, &data[0]), r.SetSteering(s)); err != nil {
			t.Error(err)
		}
	})
	frame := r.sign(udpFrame(9, nil, false))
	r.inject(r.index, frame)
	if queue, _, _ := r.next(); queue != int(s.Queue(frame)) {
		t.Errorf("queue %d", queue)
	}
}

func TestSteeringNotPermitted(t *testing.T) {
	r := newRig(t, 2)
	onThread(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Error(err)
			return
		}
		err := r.SetSteering(steerings(t)[0])
		if !errors.Is(err, backend.ErrSteering) || !errors.Is(err, unix.EPERM) ||
			err.Error() != "tap tap0: the backend does not steer: load an eBPF program: operation not permitted; it needs CAP_BPF" {
			t.Errorf("%v", err)
		}
	})
	if r.steered {
		t.Error("steered")
	}
	r.inject(r.index, r.sign(udpFrame(9, nil, false)))
	r.next()
}

// run is the program's answer for a frame.
func run(t testing.TB, p *ebpf.Program, frame []byte) uint16 {
	t.Helper()
	// The kernel takes an Ethernet header off before it runs the program.
	answer, err := p.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), frame...)})
	if err != nil {
		t.Fatalf("%x: %v", frame, err)
	}
	return uint16(answer)
}

// FuzzSteering compares the program with Steering.Queue for any bytes.
func FuzzSteering(f *testing.F) {
	all := steerings(f)
	var programs []*ebpf.Program
	for _, s := range all {
		p, err := loadSteering(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { p.Close() })
		programs = append(programs, p)
	}
	source := rand.New(rand.NewPCG(5, 6))
	for i := range 200 {
		frame := flowFrame(source)
		f.Add(uint8(i), frame)
		f.Add(uint8(i), frame[:1+source.IntN(len(frame)-1)])
	}
	f.Fuzz(func(t *testing.T, which uint8, frame []byte) {
		if len(frame) == 0 || len(frame) > 2000 {
			return // the kernel runs no program on nothing; what is behind the headers does not matter
		}
		i := int(which) % len(all)
		if got, want := run(t, programs[i], frame), all[i].Queue(frame); got != want {
			t.Errorf("types %#x: the program says %d, not %d", all[i].Types(), got, want)
		}
	})
}

// BenchmarkSteering is a flow of TCP over IPv6, the longest way.
func BenchmarkSteering(b *testing.B) {
	p, err := loadSteering(steerings(b)[0])
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	frame := append(append(append([]byte(nil), ethernet...), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, unix.IPPROTO_TCP, 64), make([]byte, 60)...)
	_, _ = p.Run(&ebpf.RunOptions{Data: append(make([]byte, 14), frame...), Repeat: uint32(b.N)})
}

func BenchmarkSetSteering(b *testing.B) {
	r := newRig(b, 4)
	s := steerings(b)[0]
	for b.Loop() {
		if err := r.SetSteering(s); err != nil {
			b.Fatal(err)
		}
	}
}
