package lapic

import (
	"encoding/binary"
	"math"
	"testing"

	"doorbell/internal/pci"
)

// state is what a guest can find out about an APIC, for comparison.
type state struct {
	base             uint64
	irr, isr, tmr    bitmap
	tpr              uint8
	address          Address
	svr              uint32
	icr, icrDest     uint32
	lvt              [lvtEntries]uint32
	timer            timer
	errors           errorStatus
	waiting, enabled bool
}

func (a *APIC) state() state {
	return state{
		a.base, a.irr, a.isr, a.tmr, a.tpr, a.currentAddress(), a.svr, a.icr, a.icrDest, a.lvt, a.timer, a.errors, a.waiting, a.desc.accepting.Load(),
	}
}

// sound checks what must hold whatever the guest does.
func (b *bench) sound(ops int, elapsed int64) {
	b.t.Helper()
	if (b.irr[0]|b.isr[0]|b.tmr[0])&0xffff != 0 {
		b.t.Fatal("an illegal vector is in IRR, ISR or TMR")
	}
	if s := b.state(); s.enabled != b.enabled() || s.address != b.address {
		b.t.Fatal("the bus does not know what the APIC is")
	}
	for e, v := range b.lvt {
		if v&^(lvtWritable[e]|lvtRemoteIRR) != 0 || b.svr&svrEnable == 0 && v&lvtMask == 0 {
			b.t.Errorf("LVT entry %d is %#x", e, v)
		}
	}
	if v, ok := b.Pending(); ok && (v>>4 <= int(b.ppr()>>4) || !b.irr.has(uint8(v))) {
		b.t.Errorf("vector %#x is pending with PPR %#x", v, b.ppr())
	}
	// Each access can start the timer once; what it does by itself takes its time.
	if n := b.count.expired.Load(); n > uint64(2*ops)+uint64(elapsed/MinPeriod) {
		b.t.Errorf("the timer interrupted %d times", n)
	}
}

// FuzzAccess lets a guest, devices and time do anything. An operation is a byte that says what, two bytes of address and as many of value as it
// has.
func FuzzAccess(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, ops []byte) {
		b := newBench(t, Config{ID: 0x123, BSP: len(ops)%2 == 0})
		n, start := 0, b.clock.now
		for len(ops) >= 3 {
			op, at := ops[0], uint32(binary.LittleEndian.Uint16(ops[1:]))
			ops = ops[3:]
			width := 1 << (op >> 4 & 3)
			p := make([]byte, 8)
			ops = ops[copy(p, ops[:min(width, len(ops))]):]
			v := binary.LittleEndian.Uint64(p)
			before := b.state()
			switch op & 0xf {
			case 0:
				b.Write(uint64(at), p[:width])
			case 1:
				b.Read(uint64(at), p[:width])
			case 2:
				b.Write(uint64(at&0x3f)*16, p[:max(width, 4)])
			case 3:
				if b.WriteMSR(0x800+at&0x3f, v) != nil && b.state() != before {
					t.Fatalf("WRMSR %#x of %#x faults and has an effect", 0x800+at&0x3f, v)
				}
			case 4:
				if b.WriteMSR(at, v) != nil && b.state() != before {
					t.Fatalf("WRMSR %#x of %#x faults and has an effect", at, v)
				}
			case 5:
				if r, err := b.ReadMSR(at); err != nil && r != 0 {
					t.Fatalf("RDMSR %#x faults and reads %#x", at, r)
				}
			case 6:
				if b.WriteMSR(0x1b, 0xfee00000|uint64(at&0xd00)) != nil && b.state() != before {
					t.Fatal("IA32_APIC_BASE faults and has an effect")
				}
			case 7:
				_ = b.WriteMSR(0x6e0, b.clock.TSC()+uint64(at))
			case 8:
				b.Descriptor().Post(uint8(at), at&0x100 != 0)
			case 9:
				b.Descriptor().LINT(int(at&3), at&4 != 0)
			case 10:
				b.Descriptor().deliver(Message{Mode: Mode(at & 7), Vector: uint8(at >> 8)})
			case 11:
				b.Sync()
				b.Events()
			case 12:
				b.clock.now += int64(at) * int64(at)
				b.Expire()
			case 13:
				if at, ok := b.Next(); ok && at > b.clock.now && at < math.MaxInt64/2 {
					b.clock.now = at
				}
				b.Expire()
			case 14:
				b.Accept()
			case 15:
				b.PerfMon()
				b.Thermal()
				b.SetCR8(uint8(at))
				b.ExtINT()
				b.TakeExtINT()
			}
			n++
			b.sound(n, b.clock.now-start)
		}
		b.Reset()
		b.sound(n, b.clock.now-start)
		for _, v := range b.Stats().Vectors {
			if v.Raised != v.Coalesced+v.Delivered+v.Dropped {
				t.Errorf("the account does not add up: %+v", v)
			}
		}
	})
}

// FuzzBus lets guests move their APICs and send anything, and compares who is reached with the slow way.
func FuzzBus(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const n = 5
		kicked := 0
		b, err := NewBus(n, func(int) { kicked++ })
		if err != nil {
			t.Fatal(err)
		}
		var apics [n]*APIC
		for i := range apics {
			if apics[i], err = b.Connect(i, Config{ID: uint32(i) * 9, BSP: i == 0}); err != nil {
				t.Fatal(err)
			}
			apics[i].writeSVR(0x1ff)
		}
		for ; len(ops) >= 8; ops = ops[8:] {
			a := apics[ops[0]%n]
			v := binary.LittleEndian.Uint32(ops[2:])
			hi := binary.LittleEndian.Uint32(ops[4:])
			switch ops[1] % 8 {
			case 0:
				put(a, []uint64{0x20, 0xd0, 0xe0, 0xf0}[ops[6]%4], v)
			case 1:
				_ = a.WriteMSR(0x1b, 0xfee00000|uint64(v&0xd00))
			case 2:
				put(a, 0x310, hi)
				put(a, 0x300, v)
			case 3:
				_ = a.WriteMSR(0x830, uint64(hi)<<32|uint64(v&0xccfff))
			case 4:
				b.SendMSI(pci.Message{Address: 0xfee00000 | uint64(v&0xfffff), Data: hi})
			case 5:
				a.Sync()
				a.Events()
			default:
				m := Message{
					Vector: ops[7], Mode: Mode(ops[6] & 7), Dest: v, Logical: ops[6]&8 != 0, Level: ops[6]&16 != 0, Trigger: ops[6]&32 != 0,
					Shorthand: Shorthand(ops[6] >> 6),
				}
				reached, vectors := 0, m.Mode == Fixed || m.Mode == LowestPriority
				for i, a := range apics {
					if reaches(m, -1, i, a.address) && (!vectors || a.enabled()) {
						reached++
					}
				}
				if m.Mode == LowestPriority {
					reached = min(reached, 1)
				}
				if m.Trigger && !m.Level || m.Mode == 3 || m.Mode == StartUp || vectors && m.Vector < 16 {
					reached = 0
				}
				if r := b.Send(m); r.Accepted != reached || r.Coalesced > r.Accepted {
					t.Fatalf("%v: %+v, %d are reached", m, r, reached)
				}
			}
		}
		if s := b.Stats(); uint64(kicked) != s.Kicks || s.Nobody > s.Sent {
			t.Errorf("%d kicks, %+v", kicked, s)
		}
	})
}
