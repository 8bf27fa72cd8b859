package testdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"

	"golang.org/x/sys/unix"
)

func TestExit(t *testing.T) {
	var wrote []uint32
	e := NewExit(func(v uint32) { wrote = append(wrote, v) })
	e.Write(0, []byte{21})
	e.Write(0, []byte{1, 2})
	e.Write(0, []byte{1, 2, 3, 4})
	if want := []uint32{21, 0x201, 0x04030201}; fmt.Sprint(wrote) != fmt.Sprint(want) {
		t.Errorf("%#x, want %#x", wrote, want)
	}
	for value, status := range map[uint32]int{0: 1, 1: 3, 127: 255} {
		if got := Status(value); got != status {
			t.Errorf("the status of %d is %d, want %d", value, got, status)
		}
	}
	b := []byte{1}
	if e.Read(0, b); b[0] != 0 {
		t.Errorf("read %#x", b[0])
	}
}

func TestEcho(t *testing.T) {
	e := NewEcho(EchoSize)
	e.Write(0, []byte{1})
	e.Write(2, []byte{2, 3})
	e.Write(4, []byte{4, 5, 6, 7})
	e.Write(6, []byte{8, 9, 10, 11}) // its second half is beyond the end
	b := make([]byte, 10)
	if e.Read(0, b); !bytes.Equal(b, []byte{1, 0, 2, 3, 4, 5, 8, 9, 0xff, 0xff}) {
		t.Errorf("% x", b)
	}
	e.Write(100, b)
	if e.Read(100, b); b[0] != 0xff {
		t.Errorf("beyond the end: % x", b)
	}
}

func TestGSIs(t *testing.T) {
	var log []string
	set := make([]func(bool), 3)
	for n := range set {
		set[n] = func(level bool) { log = append(log, fmt.Sprint(n, level)) }
	}
	g := NewGSIs(set)
	g.Write(0, []byte{1})
	g.Write(2, []byte{0, 0, 0, 7})
	g.Write(2, []byte{0})
	g.Write(3, []byte{1}) // no such line
	if want := "[0 true 2 true 2 false]"; fmt.Sprint(log) != want {
		t.Errorf("%v, want %s", log, want)
	}
}

// events is a machine that signals eventfds as KVM would.
type events struct {
	tb     testing.TB
	refuse bool
	list   map[string]int // the eventfd by what it waits for
}

func key(port bool, addr uint64, length uint32, match *uint64) string {
	if match == nil {
		return fmt.Sprint(port, addr, length)
	}
	return fmt.Sprint(port, addr, length, *match)
}

func (e *events) AddEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error {
	if e.refuse {
		return errors.New("no")
	}
	k := key(port, addr, length, match)
	if _, ok := e.list[k]; ok {
		e.tb.Errorf("%s is registered twice", k)
	}
	e.list[k] = eventfd
	return nil
}

func (e *events) RemoveEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error {
	k := key(port, addr, length, match)
	if fd, ok := e.list[k]; !ok || fd != eventfd {
		e.tb.Errorf("%s is not registered", k)
	}
	delete(e.list, k)
	return nil
}

// write is a guest's write of one byte: KVM keeps it if an eventfd waits for it.
func (e *events) write(b *pci.BAR, base uint64, v byte) {
	match := uint64(v)
	port := b.Kind == pci.Port
	for _, k := range []string{key(port, base+target, 0, nil), key(port, base+target, 1, &match)} {
		if fd, ok := e.list[k]; ok {
			if _, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1)); err != nil {
				e.tb.Error(err)
			}
			return
		}
	}
	b.Handler.Write(target, []byte{v})
}

func newPCI(t testing.TB) (*PCI, *events) {
	e := &events{tb: t, list: map[string]int{}}
	d, err := NewPCI(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, e
}

// count is the header's.
func count(b *pci.BAR) uint32 {
	var p [4]byte
	b.Handler.Read(hdrCount, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func TestPCITests(t *testing.T) {
	d, e := newPCI(t)
	for i, b := range d.Function().BARs() {
		base := uint64(0x1000 * (i + 3))
		b.Moved(base, true)
		for n, want := range []struct {
			name         string
			right, wrong uint32 // counted of three writes of the right value and of two of another
			events       int
		}{{"no-eventfd", 3, 2, 0}, {"wildcard-eventfd", 3, 2, 1}, {"datamatch-eventfd", 3, 0, 1}} {
			b.Handler.Write(hdrTest, []byte{byte(n)})
			var h [hdrSize]byte
			b.Handler.Read(0, h[:])
			name := string(bytes.TrimRight(h[hdrName:], "\x00"))
			if h[hdrWidth] != 1 || binary.LittleEndian.Uint32(h[hdrOffset:]) != target || h[hdrData] != matchData || name != []string{"mmio-", "portio-"}[i]+want.name {
				t.Errorf("header % x", h)
			}
			if len(e.list) != want.events {
				t.Errorf("%s: %d eventfds", name, len(e.list))
			}
			for range 3 {
				e.write(b, base, matchData)
			}
			if got := count(b); got != want.right {
				t.Errorf("%s: %d writes counted, want %d", name, got, want.right)
			}
			// A BAR that moves takes its eventfd along and keeps its count.
			base += 0x100
			b.Moved(base, false)
			b.Moved(base, true)
			e.write(b, base, 1)
			e.write(b, base, 2)
			if got := count(b); got != want.right+want.wrong {
				t.Errorf("%s: %d writes counted in the end, want %d", name, got, want.right+want.wrong)
			}
		}
		b.Handler.Write(hdrTest, []byte{3})
		if b.Handler.Write(target, []byte{matchData}); count(b) != 0 || len(e.list) != 0 {
			t.Errorf("a test that does not exist counts %d, %d eventfds", count(b), len(e.list))
		}
	}
}

// TestPCIWithoutEvents: where no eventfd can be had, writes exit and are counted all the same.
func TestPCIWithoutEvents(t *testing.T) {
	d, e := newPCI(t)
	e.refuse = true
	b := d.Function().BARs()[0]
	b.Moved(0x1000, true)
	b.Handler.Write(hdrTest, []byte{1})
	if e.write(b, 0x1000, 5); count(b) != 1 {
		t.Errorf("%d writes counted", count(b))
	}
	b.Moved(0x1000, false)
}

// FuzzRegisters accesses everything in any width; nothing panics, and an eventfd is registered at most once for each BAR.
func FuzzRegisters(f *testing.F) {
	f.Add([]byte{0x83, 0, 1, 1, 0x93, 64, 1, 0xfa, 3, 12, 4, 0})
	f.Add([]byte{0x84, 0, 1, 2, 0x05, 0, 0, 0, 0x04, 0, 8, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		d, e := newPCI(t)
		bars := d.Function().BARs()
		type device interface {
			Read(uint64, []byte)
			Write(uint64, []byte)
			RegisterName(uint64, bool) string
		}
		nothing := func(bool) {}
		devices := []device{NewExit(func(uint32) {}), NewEcho(EchoSize), NewGSIs([]func(bool){nothing, nothing}), bars[0].Handler, bars[1].Handler}
		for ; len(ops) >= 4; ops = ops[4:] {
			which, off, n := int(ops[0]&0xf), uint64(ops[1]), int(ops[2]%9)
			if which >= len(devices) {
				bars[which&1].Moved(off<<8, ops[2]&1 != 0)
			} else {
				p := bytes.Repeat(ops[3:4], n)
				if ops[0]&0x80 != 0 {
					devices[which].Write(off, p)
				} else {
					devices[which].Read(off, p)
				}
				_ = devices[which].RegisterName(off, ops[0]&0x80 != 0)
			}
			if len(e.list) > len(bars) {
				t.Fatalf("%d eventfds", len(e.list))
			}
		}
	})
}

// TestPCIOnBus: the function is found where test kernels look for it, and is quiet after a reset.
func TestPCIOnBus(t *testing.T) {
	d, e := newPCI(t)
	decoder := pcitest.NewDecoder(t)
	s, err := pci.NewSegment(decoder, pci.Window{Base: 0xc000_0000, Size: 1 << 20}, pci.Window{Base: 0x3000, Size: 0x1000, Ports: true})
	if err == nil {
		err = errors.Join(s.Attach(pci.Address{Device: 3}, d.Function()), s.Place())
	}
	if err != nil {
		t.Fatal(err)
	}
	var id [4]byte
	s.ECAM().Read(3<<15, id[:])
	if got := binary.LittleEndian.Uint32(id[:]); got != 0x00051b36 {
		t.Errorf("identity %#x", got)
	}
	s.ECAM().Write(3<<15|4, []byte{3, 0})
	for _, b := range d.Function().BARs() {
		b.Handler.Write(hdrTest, []byte{1})
	}
	if len(e.list) != 2 || len(decoder.At) != 2 {
		t.Errorf("%d eventfds, %d BARs", len(e.list), len(decoder.At))
	}
	if s.Reset(); len(e.list) != 0 || len(decoder.At) != 0 {
		t.Errorf("after a reset: %d eventfds, %d BARs", len(e.list), len(decoder.At))
	}
}
