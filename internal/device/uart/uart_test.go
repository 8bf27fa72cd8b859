package uart

import (
	"context"
	"testing"
	"time"
)

// edges counts the line's rising edges.
type edges struct{ n int }

func (e *edges) Raise() { e.n++ }

// port is a UART under test with byte access to its registers.
type port struct {
	*UART
	t    testing.TB
	line edges
}

func newPort(t testing.TB) *port {
	t.Helper()
	p := &port{t: t}
	p.UART = New(Config{Line: &p.line})
	t.Cleanup(p.Abort)
	return p
}

func (p *port) get(off uint64) uint8 {
	var b [1]byte
	p.Read(off, b[:])
	return b[0]
}

func (p *port) set(off uint64, v uint8) { p.Write(off, []byte{v}) }

func (p *port) input(s string) {
	p.t.Helper()
	if n, err := p.Input([]byte(s)); n != len(s) || err != nil {
		p.t.Fatalf("Input: %d bytes of %d, %v", n, len(s), err)
	}
}

// want compares a register, and names it when it differs.
func (p *port) want(off uint64, v uint8) {
	p.t.Helper()
	if got := p.get(off); got != v {
		p.t.Errorf("%s reads %#02x, want %#02x", p.RegisterName(off, false), got, v)
	}
}

// raised wants n rising edges since the last call.
func (p *port) raised(n int) {
	p.t.Helper()
	if p.line.n != n {
		p.t.Errorf("the line rose %d times, want %d", p.line.n, n)
	}
	p.line.n = 0
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestMasterReset(t *testing.T) {
	p := newPort(t)
	for _, r := range []struct {
		off uint64
		v   uint8
	}{{regIER, 0}, {regIIR, iirNone}, {regLCR, 0}, {regMCR, 0}, {regLSR, 0x60}, {regMSR, 0xb0}, {regSCR, 0}} {
		p.want(r.off, r.v)
	}
}

func TestStoredRegisters(t *testing.T) {
	p := newPort(t)
	p.set(regSCR, 0xa5)
	p.want(regSCR, 0xa5)
	p.set(regIER, 0xff)
	p.want(regIER, 0x0f)
	p.set(regMCR, 0xff)
	p.want(regMCR, 0x1f)
	p.set(regLCR, 0x83)
	p.want(regLCR, 0x83)
	p.set(0, 0x01)
	p.set(1, 0x02)
	p.want(0, 0x01)
	p.want(1, 0x02)
	p.set(regLCR, 0x03)
	p.want(0, 0x00)
	p.want(regIER, 0x0f)
}

// Linux's autoconfig tells the 16550A from its relatives by these answers.
func TestLinuxAutoconfig(t *testing.T) {
	p := newPort(t)
	p.set(regIER, 0)
	p.want(regIER, 0)
	p.set(regIER, 0x0f)
	p.want(regIER, 0x0f)
	p.set(regIER, 0)
	p.set(regMCR, mcrLOOP|mcrOUT2|mcrRTS)
	if got := p.get(regMSR) & msrLines; got != msrDCD|msrCTS {
		t.Errorf("loopback of OUT2 and RTS: MSR lines %#02x, want DCD and CTS", got)
	}
	p.set(regMCR, 0)
	p.set(regFCR, fcrEnable)
	if got := p.get(regIIR) >> 6; got != 3 {
		t.Errorf("FIFO bits of IIR %d, want 3: a 16550A", got)
	}
	p.set(regFCR, 0)
	// It then wants the transmitter's interrupt to come back when it is enabled again.
	p.set(regIER, ierETBEI)
	p.want(regIIR, iirTHRE)
	p.want(regIIR, iirNone)
	p.set(regIER, 0)
	p.set(regIER, ierETBEI)
	p.want(regIIR, iirTHRE)
}

func TestLoopbackLines(t *testing.T) {
	for _, tc := range []struct{ mcr, lines uint8 }{
		{0, 0}, {mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOUT1, msrRI}, {mcrOUT2, msrDCD}, {0xf, 0xf0},
	} {
		p := newPort(t)
		p.set(regMCR, mcrLOOP|tc.mcr)
		if got := p.get(regMSR) & msrLines; got != tc.lines {
			t.Errorf("MCR %#02x in loopback: MSR lines %#02x, want %#02x", tc.mcr, got, tc.lines)
		}
	}
}

func TestModemDeltas(t *testing.T) {
	p := newPort(t)
	p.set(regMCR, mcrLOOP) // all lines fall; RI was off
	p.want(regMSR, msrDCTS|msrDDSR|msrDDCD)
	p.want(regMSR, 0)
	p.set(regMCR, mcrLOOP|mcrOUT1) // RI rises: no delta
	p.want(regMSR, msrRI)
	p.set(regMCR, mcrLOOP|mcrDTR) // RI falls, DSR rises
	p.want(regMSR, msrTERI|msrDDSR|msrDSR)
	p.set(regMCR, mcrOUT2)
	p.raised(0)
	p.set(regIER, ierEDSSI)
	p.raised(1)
	p.want(regIIR, iirMS)
	p.want(regMSR, msrDCTS|msrDDCD|msrCTS|msrDSR|msrDCD)
	p.want(regIIR, iirNone)
}

func TestOUT2Gates(t *testing.T) {
	p := newPort(t)
	p.set(regIER, ierETBEI)
	p.raised(0)
	p.set(regMCR, mcrOUT2)
	p.raised(1)
	p.set(regMCR, mcrOUT2|mcrLOOP)
	p.set(regMCR, mcrOUT2)
	p.raised(1)
	p.want(regIIR, iirTHRE)
	p.set(regMCR, 0)
	p.set(regMCR, mcrOUT2)
	p.raised(0)
}

func TestPriority(t *testing.T) {
	p := newPort(t)
	p.set(regIER, ierMask)
	p.set(regMCR, mcrLOOP) // deltas
	p.set(regTHR, 'a')
	p.set(regTHR, 'b') // overrun of RBR: the new character stays
	p.want(regIIR, iirRLS)
	p.want(regLSR, lsrDR|lsrOE|lsrTHRE|lsrTEMT)
	p.want(regIIR, iirRDA)
	p.want(regRBR, 'b')
	p.want(regIIR, iirTHRE)
	p.want(regIIR, iirMS)
	p.get(regMSR)
	p.want(regIIR, iirNone)
}

// A read of IIR clears the transmitter's interrupt only when it reports it.
func TestTHREStaysBehindOtherSources(t *testing.T) {
	p := newPort(t)
	p.set(regMCR, mcrOUT2)
	p.set(regIER, ierERBFI|ierETBEI)
	p.input("x")
	p.want(regIIR, iirRDA)
	p.want(regIIR, iirRDA)
	p.want(regRBR, 'x')
	p.want(regIIR, iirTHRE)
	p.want(regIIR, iirNone)
	p.set(regTHR, 'y')
	p.want(regIIR, iirTHRE)
}

func TestTransmitInterrupts(t *testing.T) {
	p := newPort(t)
	p.set(regMCR, mcrOUT2)
	p.set(regIER, ierETBEI)
	p.raised(1)
	// Without FIFOs each byte is a load of its own.
	for range 3 {
		p.set(regTHR, 'a')
	}
	p.raised(3)
	// With them a driver's 16 bytes are one load.
	p.set(regFCR, fcrEnable)
	p.want(regIIR, iirFIFO|iirTHRE)
	p.want(regIIR, iirFIFO|iirNone)
	for range fifoDepth {
		p.set(regTHR, 'a')
	}
	p.raised(1)
	p.set(regTHR, 'a')
	p.raised(1)
	// Any other access ends a load, also without a read of IIR.
	p.get(regLSR)
	p.set(regTHR, 'a')
	p.raised(1)
}

func TestReceiveTrigger(t *testing.T) {
	for i, level := range []int{1, 4, 8, 14} {
		p := newPort(t)
		p.set(regMCR, mcrOUT2|mcrRTS)
		p.set(regFCR, fcrEnable|byte(i)<<fcrTriggerShift)
		p.set(regIER, ierERBFI)
		for n := 1; n <= fifoDepth+5; n++ {
			p.input("x")
			want := uint8(iirFIFO | iirTimeout)
			if n >= level {
				want = iirFIFO | iirRDA
			}
			p.want(regIIR, want)
		}
		p.raised(1) // one edge: the line stayed high
		for range fifoDepth + 5 {
			p.want(regLSR, 0x61)
			p.want(regRBR, 'x')
		}
		p.want(regLSR, 0x60)
		p.want(regIIR, iirFIFO|iirNone)
	}
}

func TestFIFOReset(t *testing.T) {
	for _, tc := range []struct {
		name string
		fcr  uint8
		left int
	}{
		{"reset", fcrEnable | fcrResetRx, 0},
		{"reset without enable bit", fcrResetRx, 0}, // disables the FIFOs, which clears them
		{"disable", 0, 0},
		{"nothing", fcrEnable, 5},
		{"transmit reset", fcrEnable | 4, 5},
	} {
		p := newPort(t)
		p.set(regFCR, fcrEnable)
		p.set(regMCR, mcrLOOP)
		for range 5 {
			p.set(regTHR, 'x')
		}
		p.set(regFCR, tc.fcr)
		got := 0
		for p.get(regLSR)&lsrDR != 0 {
			p.get(regRBR)
			got++
		}
		if got != tc.left {
			t.Errorf("%s: %d characters left, want %d", tc.name, got, tc.left)
		}
	}
}

func TestLoopbackOverrunKeepsFIFO(t *testing.T) {
	p := newPort(t)
	p.set(regFCR, fcrEnable)
	p.set(regMCR, mcrLOOP)
	for i := range byte(fifoDepth + 1) {
		p.set(regTHR, i)
	}
	p.want(regLSR, lsrDR|lsrOE|lsrTHRE|lsrTEMT)
	p.want(regLSR, lsrDR|lsrTHRE|lsrTEMT)
	for i := range byte(fifoDepth) {
		p.want(regRBR, i)
	}
}

func TestWideAccess(t *testing.T) {
	p := newPort(t)
	p.Write(regLCR, []byte{0x03, mcrRTS, 0xff, 0xff, 0x77}) // LCR, MCR, LSR, MSR, SCR
	var b [8]byte
	p.Read(regLCR, b[:])
	want := [8]byte{0x03, mcrRTS, 0x60, 0xb0, 0x77, 0xff, 0xff, 0xff}
	if b != want {
		t.Errorf("8 bytes from LCR read % x, want % x", b, want)
	}
	p.Read(^uint64(0), b[:])
	if b != [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} {
		t.Errorf("beyond the last register: % x, want ff", b)
	}
}

func TestRegisterName(t *testing.T) {
	p := newPort(t)
	for _, tc := range []struct {
		off         uint64
		read, write string
	}{
		{0, "RBR/DLL", "THR/DLL"}, {1, "IER/DLM", "IER/DLM"}, {2, "IIR", "FCR"}, {3, "LCR", "LCR"}, {4, "MCR", "MCR"},
		{5, "LSR", "LSR"}, {6, "MSR", "MSR"}, {7, "SCR", "SCR"}, {8, "0x8", "0x8"},
	} {
		if r, w := p.RegisterName(tc.off, false), p.RegisterName(tc.off, true); r != tc.read || w != tc.write {
			t.Errorf("offset %d: %s and %s, want %s and %s", tc.off, r, w, tc.read, tc.write)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := newPort(t)
	p.set(regMCR, mcrOUT2|mcrRTS)
	p.set(regIER, ierMask)
	b := make([]byte, 1)
	in := []byte("in")
	n := testing.AllocsPerRun(200, func() {
		for off := range uint64(Size) {
			p.Read(off, b)
			b[0] = 'x'
			if off == regTHR || off == regSCR {
				p.Write(off, b)
			}
		}
		if _, err := p.Input(in); err != nil {
			t.Fatal(err)
		}
		p.Read(regRBR, b)
		p.Read(regRBR, b)
	})
	if n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}
