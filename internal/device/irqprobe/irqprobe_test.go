package irqprobe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"

	"pgregory.net/rapid"
)

// pin is a line that remembers its level.
type pin struct{ high bool }

func (p *pin) Set(level bool) { p.high = level }

// bench is the function on a bus, decoded.
type bench struct {
	*Device
	pin     *pin
	ways    *pcitest.Interrupts
	segment *pci.Segment
	regs    pci.Handler
	table   pci.Handler
}

func newBench(tb pcitest.TB) *bench {
	b := &bench{pin: &pin{}, ways: pcitest.NewInterrupts(tb, 0)}
	var err error
	if b.Device, err = New("irqprobe", b.ways, b.pin, func(err error) { tb.Errorf("%v", err) }); err == nil {
		b.segment, err = pci.NewSegment(pcitest.NewDecoder(tb), pci.Window{Base: 0xc000_0000, Size: 1 << 20})
	}
	if err == nil {
		err = errors.Join(b.segment.Attach(pci.Address{Device: 3}, b.Function()), b.segment.Place())
	}
	if err != nil {
		panic(err)
	}
	b.segment.ECAM().Write(3<<15|4, []byte{6, 0})
	b.regs, b.table = b.Function().BARs()[0].Handler, b.Function().BARs()[1].Handler
	return b
}

func (b *bench) get(off uint64) uint32 {
	var p [4]byte
	b.regs.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (b *bench) put(off uint64, v uint32) {
	b.regs.Write(off, binary.LittleEndian.AppendUint32(nil, v))
}

// enableMSIX routes every vector, with its number as the message's data, unmasks it and enables the capability.
func (b *bench) enableMSIX(on bool) {
	for n := range uint64(Sources) {
		for i, word := range []uint32{0xfee0_0000, 0, uint32(32 + n), 0} {
			b.table.Write(n*16+4*uint64(i), binary.LittleEndian.AppendUint32(nil, word))
		}
	}
	high := byte(0)
	if on {
		high = 0x80
	}
	b.segment.ECAM().Write(b.capability(0x11)+3, []byte{high})
}

// capability is where the capability with that number is, as an offset in the window of configuration spaces.
func (b *bench) capability(id byte) uint64 {
	var p [1]byte
	at := uint64(3<<15 | 0x34)
	for range 48 {
		b.segment.ECAM().Read(at, p[:])
		at = 3<<15 | uint64(p[0])
		if b.segment.ECAM().Read(at, p[:]); p[0] == id {
			return at
		}
		at++
	}
	panic("no such capability")
}

func (b *bench) delivered(n int) uint64 { return b.msix.Vector(n).(*pcitest.Vector).Total() }

func TestVectors(t *testing.T) {
	b := newBench(t)
	b.enableMSIX(true)
	b.put(regRaise, 1<<2|1<<4)
	b.put(regRaise, 1<<2)
	for n, want := range []uint64{0, 0, 2, 0, 1} {
		if got, count := b.delivered(n), b.get(regCount+4*uint64(n)); got != want || uint64(count) != want {
			t.Errorf("source %d: %d delivered, %d counted, want %d", n, got, count, want)
		}
	}
	if b.get(regStatus) != 0 || b.pin.high {
		t.Errorf("with MSI-X: status %#x, pin %v", b.get(regStatus), b.pin.high)
	}
	if b.segment.Reset(); b.get(regCount+8) != 0 || b.ways.GSIs() != 0 {
		t.Error("a reset leaves something")
	}
	if err := b.Close(); err != nil || b.ways.Vectors() != 0 {
		t.Errorf("%v, %d vectors left", err, b.ways.Vectors())
	}
}

func TestIdentity(t *testing.T) {
	b := newBench(t)
	var id [4]byte
	b.segment.ECAM().Read(3<<15, id[:])
	if got := binary.LittleEndian.Uint32(id[:]); got != DeviceID<<16|VendorID || b.get(regID) != Identity || b.get(regSources) != Sources {
		t.Errorf("%#x, ID %#x, %d sources", got, b.get(regID), b.get(regSources))
	}
	if b.segment.ECAM().Read(3<<15|0x3d, id[:1]); id[0] != 1 {
		t.Errorf("interrupt pin %d", id[0])
	}
}

// TestRegisters compares the registers with a model that says the same in other words: sources that are raised, quieted and allowed, and a pin that is
// active while one is raised and allowed.
func TestRegisters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t)
		msix := false
		var raised, allowed [Sources]bool
		var counts, messages [Sources]uint64
		t.Repeat(map[string]func(*rapid.T){
			"raise": func(t *rapid.T) {
				v := rapid.Uint32().Draw(t, "sources")
				b.put(regRaise, v)
				for n := range Sources {
					if v>>n&1 == 0 {
						continue
					}
					if counts[n]++; msix {
						messages[n]++
					} else {
						raised[n] = true
					}
				}
			},
			"quiet": func(t *rapid.T) {
				v := rapid.Uint32().Draw(t, "sources")
				b.put(regStatus, v)
				for n := range Sources {
					raised[n] = raised[n] && v>>n&1 == 0
				}
			},
			"enable": func(t *rapid.T) {
				v := rapid.Uint32().Draw(t, "sources")
				b.put(regEnable, v)
				for n := range Sources {
					allowed[n] = v>>n&1 != 0
				}
			},
			"msix": func(t *rapid.T) {
				msix = rapid.Bool().Draw(t, "on")
				b.enableMSIX(msix)
			},
			"odd": func(t *rapid.T) { // what is no register, or no access to one, does nothing
				n := rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "width")
				b.regs.Write(rapid.Uint64Range(0, registersSize-8).Draw(t, "offset"), bytes.Repeat([]byte{0xff}, n))
			},
			"": func(t *rapid.T) {
				var status, enable uint32
				high := false
				for n := range Sources {
					if raised[n] {
						status |= 1 << n
					}
					if allowed[n] {
						enable |= 1 << n
					}
					high = high || raised[n] && allowed[n]
					if uint64(b.get(regCount+4*uint64(n))) != counts[n] || b.delivered(n) != messages[n] {
						t.Errorf("source %d: count %d, %d messages; want %d and %d", n, b.get(regCount+4*uint64(n)), b.delivered(n), counts[n], messages[n])
					}
				}
				if b.get(regStatus) != status || b.get(regEnable) != enable || b.pin.high != high {
					t.Errorf("status %#x, enable %#x, pin %v; want %#x, %#x, %v", b.get(regStatus), b.get(regEnable), b.pin.high, status, enable, high)
				}
			},
		})
	})
}

// FuzzAccess reads and writes everywhere in both BARs, in any width; nothing panics, and a read in pieces is the read at once.
func FuzzAccess(f *testing.F) {
	f.Add([]byte{0x80, 8, 0, 4, 0xff, 0x81, 12, 0, 4, 0})
	f.Add([]byte{0x00, 0x3e, 0, 8, 0, 0x01, 0, 8, 8, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		b := newBench(t)
		for ; len(ops) >= 5; ops = ops[5:] {
			h, off, n := b.regs, uint64(ops[1])|uint64(ops[2]&0xf)<<8, int(ops[3]%9)
			if ops[0]&1 != 0 {
				h = b.table
			}
			_ = h.RegisterName(off, ops[0]&0x80 != 0)
			if ops[0]&0x80 != 0 {
				h.Write(off, bytes.Repeat(ops[4:5], n))
				continue
			}
			p, one := make([]byte, n), make([]byte, n)
			h.Read(off, p)
			for i := range one {
				h.Read(off+uint64(i), one[i:i+1])
			}
			if !bytes.Equal(p, one) {
				t.Errorf("%d bytes at %#x: %x at once, %x in pieces", n, off, p, one)
			}
		}
	})
}
