//go:build lab

package vcpu_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/internal/tinyguest"
	"doorbell/vcpu"
)

// recorder is a bus that remembers the last access and answers reads with a pattern.
type recorder struct {
	port  uint16
	addr  uint64
	size  int
	write bool
	data  []byte
	n     int
}

func (r *recorder) Port(_ int, port uint16, size int, write bool, p []byte) {
	r.port, r.size, r.write = port, size, write
	r.access(write, p)
}

func (r *recorder) Memory(_ int, addr uint64, write bool, p []byte) {
	r.addr, r.size, r.write = addr, len(p), write
	r.access(write, p)
}

func (r *recorder) access(write bool, p []byte) {
	r.n++
	if write {
		r.data = append(r.data[:0], p...)
		return
	}
	for i := range p {
		p[i] = 0xa0 + byte(i)
	}
}

func system(t testing.TB) *kvm.System {
	t.Helper()
	s, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// run runs code until it stops, or stops it after a while.
func run(t *testing.T, code []byte, bus vcpu.Bus) (*tinyguest.Guest, vcpu.Stop) {
	t.Helper()
	g, err := tinyguest.New(system(t), code, bus)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	g.CPU.Run()
	select {
	case s := <-g.CPU.Stopped():
		return g, s
	case <-time.After(20 * time.Second):
		g.CPU.Stop()
		<-g.CPU.Stopped()
		t.Fatal("the guest did not stop by itself")
		panic("unreachable")
	}
}

func TestPortWrite(t *testing.T) {
	r := &recorder{}
	g, s := run(t, []byte{
		0xb8, 0x78, 0x56, 0x34, 0x12, // mov eax, 0x12345678
		0x66, 0xba, 0x10, 0x05, // mov dx, 0x510
		0xef,                    // out dx, eax
		0xe6, tinyguest.EndPort, // out 0xf5, al
	}, r)
	if s.Kind != vcpu.Asked || r.port != 0x510 || !r.write || string(r.data) != "\x78\x56\x34\x12" {
		t.Errorf("stop %v, access %+v", s, r)
	}
	if m := g.Ledger.VCPU(0).ExitsByReason(); m["io"] != 2 || len(m) != 1 {
		t.Errorf("exits %v, want two for I/O: the write and the end", m)
	}
}

// What a device answers to a read reaches the guest's register: the guest writes it out again.
func TestReadReachesTheGuest(t *testing.T) {
	r := &recorder{}
	if _, s := run(t, []byte{
		0x66, 0xba, 0x10, 0x05, // mov dx, 0x510
		0xed,                            // in eax, dx
		0xa3, 0, 0, 0, 0xd0, 0, 0, 0, 0, // movabs [0xd0000000], eax
		0xe6, tinyguest.EndPort, // out 0xf5, al
	}, r); s.Kind == vcpu.Asked {
		t.Error("the guest went on, although its page tables do not map 0xd0000000")
	} else if s.Kind != vcpu.TripleFault {
		t.Errorf("stop %v, want a triple fault", s)
	}
	if r.port != 0x510 || r.n != 1 {
		t.Errorf("access %+v", r)
	}
}

func TestMMIO(t *testing.T) {
	r := &recorder{}
	// The page tables map 2 MiB, all of which is memory: the test takes the last page away.
	g, err := tinyguest.New(system(t), []byte{
		0x8b, 0x04, 0x25, 0x00, 0xf0, 0x1f, 0x00, // mov eax, [0x1ff000]
		0x89, 0x04, 0x25, 0x04, 0xf0, 0x1f, 0x00, // mov [0x1ff004], eax
		0xe6, tinyguest.EndPort, // out 0xf5, al
	}, r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	host := g.Memory.Regions()[0].Host
	if err := g.VM.SetUserMemory(0, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.VM.SetUserMemory(0, 0, 0, host[:0x1ff000]); err != nil {
		t.Fatal(err)
	}
	g.CPU.Run()
	if s := <-g.CPU.Stopped(); s.Kind != vcpu.Asked {
		t.Fatalf("stop %v", s)
	}
	if r.addr != 0x1ff004 || r.size != 4 || string(r.data) != "\xa0\xa1\xa2\xa3" || r.n != 2 {
		t.Errorf("last access %+v, want what was read to be written", r)
	}
}

func TestTripleFaultNamesTheInstruction(t *testing.T) {
	_, s := run(t, []byte{0x0f, 0x0b}, &recorder{}) // ud2, and no IDT
	// Intel keeps the state of the fault; AMD's is undefined, and KVM resets it.
	named := strings.Contains(s.Detail, "ud2") && strings.Contains(s.Detail, "0x4000")
	if s.Kind != vcpu.TripleFault || !s.Crashed() || !named && !strings.Contains(s.Detail, "AMD") {
		t.Errorf("stop %v, want a triple fault at 0x4000 with ud2, or that the processor does not tell", s)
	}
}

// An instruction that KVM must emulate, because it touches an address without memory, and cannot.
func TestEmulationFailureNamesTheInstruction(t *testing.T) {
	g, err := tinyguest.New(system(t), []byte{
		0x0f, 0xae, 0x04, 0x25, 0x00, 0xf0, 0x1f, 0x00, // fxsave [0x1ff000]
		0xe6, tinyguest.EndPort,
	}, &recorder{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	host := g.Memory.Regions()[0].Host
	if err := g.VM.EnableCap(kvm.CapExitOnEmulationFailure, 1); err != nil {
		t.Fatal(err)
	}
	for _, h := range [][]byte{nil, host[:0x1ff000]} {
		if err := g.VM.SetUserMemory(0, 0, 0, h); err != nil {
			t.Fatal(err)
		}
	}
	g.CPU.Run()
	s := <-g.CPU.Stopped()
	if !s.Crashed() || !strings.Contains(s.Detail, "fxsave") || !strings.Contains(s.Detail, "0x4000") {
		t.Errorf("stop %v, want a failure at 0x4000 with fxsave", s)
	}
}

// A vCPU that never exits is stopped from outside, and one that is about to enter cannot slip through.
func TestStopReachesASpinningGuest(t *testing.T) {
	for i := range 50 {
		g, err := tinyguest.New(system(t), []byte{0xeb, 0xfe}, &recorder{}) // jmp self
		if err != nil {
			t.Fatal(err)
		}
		g.CPU.Run()
		time.Sleep(time.Duration(i) * 100 * time.Microsecond)
		g.CPU.Stop()
		select {
		case s := <-g.CPU.Stopped():
			if s.Kind != vcpu.Asked || s.Crashed() {
				t.Errorf("stop %v", s)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Stop did not reach the guest")
		}
		g.Close()
	}
}

// Stop from the vCPU's own thread, as a power-off register does it.
func TestStopFromADevice(t *testing.T) {
	var g *tinyguest.Guest
	bus := busFunc(func() { g.CPU.Stop() })
	g, err := tinyguest.New(system(t), []byte{0xe6, 0xf4, 0xeb, 0xfc}, bus) // again: out 0xf4, al; jmp again
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.CPU.Run()
	select {
	case s := <-g.CPU.Stopped():
		if s.Kind != vcpu.Asked {
			t.Errorf("stop %v", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the vCPU went on")
	}
}

type busFunc func()

func (f busFunc) Port(int, uint16, int, bool, []byte) { f() }
func (f busFunc) Memory(int, uint64, bool, []byte)    { f() }

// counting stops its guest after a number of exits.
type counting struct {
	n, limit int
	stop     func()
	book     *ledger.Ledger
	id       ledger.DeviceID
	before   runtime.MemStats
	after    runtime.MemStats
}

func (c *counting) Port(vcpu int, port uint16, size int, write bool, p []byte) {
	c.book.Access(vcpu, c.id, 0, write, size)
	c.n++
	switch c.n {
	case 1000:
		runtime.ReadMemStats(&c.before)
	case c.limit:
		runtime.ReadMemStats(&c.after)
		c.stop()
	}
}

func (c *counting) Memory(int, uint64, bool, []byte) {}

// The loop allocates nothing per exit.
func TestExitsAllocateNothing(t *testing.T) {
	c := &counting{limit: 21000}
	g, err := tinyguest.New(system(t), []byte{0xe4, 0x80, 0xeb, 0xfc}, c) // again: in al, 0x80; jmp again
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	c.book, c.stop = g.Ledger, g.CPU.Stop
	c.id = g.Ledger.AddDevice("d", ledger.Port, 1, 1, func(uint64, bool) string { return "r" })
	g.CPU.Run()
	<-g.CPU.Stopped()
	exits := c.limit - 1000
	// The runtime itself allocates now and then; an allocation per exit would be 20,000.
	if n := c.after.Mallocs - c.before.Mallocs; n > uint64(exits)/100 {
		t.Errorf("%d allocations in %d exits", n, exits)
	}
}
