package ioapic

import (
	"encoding/binary"
	"slices"
	"testing"

	"doorbell/internal/pci"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// modelFields are what a guest writes into an entry.
type modelFields struct {
	vector, mode, dest, edid int
	logical, low, tm, mask   bool
}

// modelEntry is an entry of the second model, with its lines as a list of who asks.
type modelEntry struct {
	modelFields
	irr                bool
	wiredLow           bool
	asking             []int
	storm              int
	n                  PinStats // counters only
	routeTold, laterBy int
}

// model is the chip once more, slow and obvious: after each thing that happens it looks at all pins for what is due.
type model struct {
	index, id int
	pin       []*modelEntry
	limit     int

	sent   []Message
	irr    []uint8 // vectors that wait at the processors
	nobody []int   // destinations where nobody is
}

func newModel(activeLow uint32, limit int) *model {
	m := &model{limit: limit}
	for n := range Pins {
		m.pin = append(m.pin, &modelEntry{modelFields: modelFields{mask: true}, wiredLow: activeLow>>n&1 == 1})
	}
	return m
}

func (e *modelEntry) levelTriggered() bool { return e.tm && (e.mode == 0 || e.mode == 1) }

func (e *modelEntry) active() bool {
	high := len(e.asking) > 0
	if e.wiredLow {
		high = !high
	}
	if e.low {
		return !high
	}
	return high
}

// pending is that a level interrupt is due and not accepted.
func (e *modelEntry) pending() bool { return e.levelTriggered() && !e.mask && !e.irr && e.active() }

// send tells whether somebody accepted the message.
func (m *model) send(e *modelEntry) bool {
	switch e.mode {
	case 2:
		e.n.SMI++
		return false
	case 3, 6:
		e.n.Reserved++
		return false
	}
	msg := Message{Vector: uint8(e.vector), Mode: pci.DeliveryMode(e.mode), Dest: uint8(e.dest), EDID: uint8(e.edid), Logical: e.logical, Level: e.levelTriggered()}
	m.sent = append(m.sent, msg)
	switch {
	case slices.Contains(m.nobody, e.dest):
		e.n.Nobody++
		return false
	case e.mode <= 1 && slices.Contains(m.irr, msg.Vector):
		e.n.Coalesced++
	default:
		if e.mode <= 1 {
			m.irr = append(m.irr, msg.Vector)
		}
		e.n.Delivered++
	}
	return true
}

// look sends what is due at a pin.
func (m *model) look(e *modelEntry) bool {
	if !e.pending() {
		return false
	}
	e.irr = m.send(e)
	return e.irr
}

func (m *model) drive(n, who int, asks bool) {
	e := m.pin[n]
	if slices.Contains(e.asking, who) == asks {
		return
	}
	was := e.active()
	if asks {
		e.asking = append(e.asking, who)
	} else {
		e.asking = slices.DeleteFunc(e.asking, func(w int) bool { return w == who })
		e.storm = 0
	}
	if was || !e.active() {
		return
	}
	e.n.Raised++
	switch {
	case e.levelTriggered():
		m.look(e)
	case e.mask:
		e.n.Masked++
	default:
		m.send(e)
	}
}

func (m *model) eoi(vector int) {
	for _, e := range m.pin {
		if e.vector != vector || !e.irr {
			continue
		}
		e.irr = false
		e.n.EOIs++
		if !e.pending() {
			e.storm = 0
			continue
		}
		if e.storm++; e.storm == m.limit {
			e.storm = 0
			e.n.Throttled++
			e.laterBy++
		} else if m.look(e) {
			e.n.Redelivered++
		}
	}
}

func bit(b bool, n int) uint32 {
	if b {
		return 1 << n
	}
	return 0
}

func (m *model) read(index int) uint32 {
	switch {
	case index == 0:
		return uint32(m.id)
	case index == 1:
		return 23<<16 | 0x20
	case index == 2:
		return uint32(m.id) &^ (1 << 15)
	case index < 16 || index >= 64:
		return 0
	}
	e := m.pin[(index-16)/2]
	if index%2 == 1 {
		return uint32(e.dest<<24 | e.edid<<16)
	}
	return uint32(e.vector) | uint32(e.mode)<<8 | bit(e.logical, 11) | bit(e.pending(), 12) | bit(e.low, 13) | bit(e.irr, 14) | bit(e.tm, 15) | bit(e.mask, 16)
}

func (m *model) write(index int, v uint32) {
	switch {
	case index == 0:
		m.id = int(v & 0x0f008000)
		return
	case index < 16 || index >= 64:
		return
	}
	e := m.pin[(index-16)/2]
	to := e.modelFields
	if index%2 == 1 {
		to.dest, to.edid = int(v>>24), int(v>>16&255)
	} else {
		has := func(n int) bool { return v>>n&1 == 1 }
		to.vector, to.mode, to.logical, to.low, to.tm, to.mask = int(v&255), int(v>>8&7), has(11), has(13), has(15), has(16)
	}
	m.program(e, to)
}

func (m *model) program(e *modelEntry, to modelFields) {
	route := to
	route.low = e.low
	if route != e.modelFields {
		e.routeTold++
	}
	e.modelFields = to
	e.irr = e.irr && e.levelTriggered()
	m.look(e)
}

func (m *model) reset() {
	m.index, m.id = 0, 0
	for _, e := range m.pin {
		m.program(e, modelFields{mask: true})
		e.storm = 0
	}
}

// access is a write to the window, byte by byte as the data sheet has it: which registers does it cover?
func (m *model) access(off uint64, p []byte) {
	at := map[uint64]byte{}
	for i, v := range p {
		at[off+uint64(i)] = v
	}
	if v, ok := at[0]; ok {
		m.index = int(v)
	}
	var win []byte
	for o := uint64(0x10); o < 0x14; o++ {
		if v, ok := at[o]; ok {
			win = append(win, v)
		}
	}
	if len(win) == 4 {
		m.write(m.index, binary.LittleEndian.Uint32(win))
	}
	if v, ok := at[0x40]; ok {
		m.eoi(int(v))
	}
}

// window is what the 256 bytes read.
func (m *model) window() []byte {
	w := make([]byte, 256)
	w[0] = byte(m.index)
	binary.LittleEndian.PutUint32(w[0x10:], m.read(m.index))
	return w
}

// pair is both models with the same surroundings.
type pair struct {
	*bench
	m       *model
	sources []*Source // of pins 0, 1, 2, 3, 0, 1, 2, 3
	told    [Pins]int
}

// The state machine uses four pins and few vectors and destinations, so that things meet. Pin 3 is wired active low.
const (
	modelPins    = 4
	modelStorm   = 3
	modelSources = 2 * modelPins
)

func newPair(t testing.TB) *pair {
	b := newBench(t, Config{ActiveLow: 1 << 3})
	b.stormLimit = modelStorm
	p := &pair{bench: b, m: newModel(1<<3, modelStorm)}
	for n := range modelSources {
		p.sources = append(p.sources, b.source(n%modelPins))
	}
	return p
}

func (p *pair) write(off uint64, b []byte) {
	p.Write(off, b)
	if off < 256 {
		p.m.access(off, b)
	}
}

func (p *pair) read(off uint64, width int) {
	p.Helper()
	got, want := make([]byte, width), make([]byte, width)
	p.Read(off, got)
	if off < 256 {
		copy(want, p.m.window()[off:])
	}
	if !slices.Equal(got, want) {
		p.Fatalf("%d bytes at %#x: % x, the model % x", width, off, got, want)
	}
}

func (p *pair) drive(n int, level bool) {
	p.sources[n].Set(level)
	p.m.drive(n%modelPins, n, level)
}

func (p *pair) setPin(n int, level bool) {
	p.SetPin(n, level)
	p.m.drive(n, -1, level)
}

func (p *pair) take(vector uint8) {
	p.apics.take(vector)
	p.m.irr = slices.DeleteFunc(p.m.irr, func(v uint8) bool { return v == vector })
}

func (p *pair) presence(dest int, there bool) {
	p.nobody[uint8(dest)] = !there
	p.m.nobody = slices.DeleteFunc(p.m.nobody, func(d int) bool { return d == dest })
	if !there {
		p.m.nobody = append(p.m.nobody, dest)
	}
}

func (p *pair) redeliver(n int) {
	p.Redeliver(n)
	if e := p.m.pin[n]; p.m.look(e) {
		e.n.Late++
	}
}

// check compares all that can be seen.
func (p *pair) check() {
	p.Helper()
	if d := cmp.Diff(p.m.sent, p.sent); d != "" {
		p.Fatalf("messages (-model +chip):\n%s", d)
	}
	p.sent, p.m.sent = nil, nil
	for _, n := range p.routes {
		p.told[n]++
	}
	p.routes = nil
	later := [Pins]int{}
	for _, n := range p.later {
		later[n]++
	}
	index := [256]uint64{}
	for n, s := range p.Stats() {
		e := p.m.pin[n]
		want := e.n
		want.Pin, want.Asserted = n, len(e.asking)
		want.RTE = RTE(p.m.read(17+2*n))<<32 | RTE(p.m.read(16+2*n))
		if s != want {
			p.Fatalf("pin %d: %+v\nthe model %+v", n, s, want)
		}
		if p.told[n] != e.routeTold || later[n] != e.laterBy {
			p.Fatalf("pin %d: %d changed routes, %d times later; the model %d, %d", n, p.told[n], later[n], e.routeTold, e.laterBy)
		}
		if s.RTE.RemoteIRR() && !s.RTE.Level() {
			p.Fatalf("pin %d: remote IRR in an edge-triggered entry", n)
		}
		index[e.vector] |= 1 << n
	}
	for vector := range index {
		if got := p.byVector[vector].Load(); got != index[vector] {
			p.Fatalf("pins with vector %#x: %#x, the model %#x", vector, got, index[vector])
		}
	}
	p.read(0x10, 4)
}

// step does one operation that four bytes choose.
func (p *pair) step(op, a, b, c byte) {
	p.Helper()
	pin, vector := int(a)%modelPins, 0x40|b&3
	doubleword := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	switch op % 16 {
	case 0, 1, 2:
		p.drive(int(a)%modelSources, b&1 != 0)
	case 3:
		p.setPin(pin, b&1 != 0)
	case 4, 5, 6: // a lower half that is likely to do something
		low := uint32(vector) | uint32(c&1)<<15 | uint32(c>>1&1)<<13 | uint32(c>>2&1)<<11
		if c>>3&3 == 0 {
			low |= 1 << 16
		}
		if c>>5 == 7 {
			low |= uint32(b>>2&7) << 8
		}
		p.write(0, []byte{0x10 + 2*byte(pin)})
		p.write(0x10, doubleword(low))
	case 7:
		p.write(0, []byte{0x11 + 2*byte(pin)})
		p.write(0x10, doubleword(uint32(b&3)<<24|uint32(c&1)<<16))
	case 8:
		p.EOI(vector)
		p.m.eoi(int(vector))
	case 9:
		p.write(0x40, doubleword(uint32(c)<<8|uint32(vector)))
	case 10:
		p.take(vector)
	case 11: // a well-behaved handler: acknowledge, serve, EOI
		p.take(vector)
		p.drive(int(a)%modelSources, false)
		p.write(0x40, []byte{vector})
	case 12:
		p.redeliver(pin)
	case 13:
		p.presence(int(b&3), c&1 == 0)
	case 14: // anything anywhere
		p.write(uint64(a), []byte{b, c, b ^ c, ^b, c, b, ^c, b}[:1<<(c&3)])
		p.read(uint64(b), 1<<(a&3))
	case 15:
		switch {
		case a == 0xff:
			p.Reset()
			p.m.reset()
		case a >= 0xf0: // past the window
			off := uint64(0x100)<<(b&63) | uint64(c)
			p.write(off, []byte{a, b, c, a, b, c, a, b})
			p.read(off, 8)
		default: // anything in the register file
			p.write(0, []byte{a & 0x3f})
			p.write(0x10, []byte{b, c, b >> 7, c})
		}
	}
	p.check()
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		p := newPair(t)
		// rapid reports and shrinks only what fails by its own T.
		p.TB = failing{t, r}
		// Bytes from a list are drawn evenly; rapid's integers are mostly small.
		operation := rapid.SliceOfN(rapid.SampledFrom(everyByte()), 4, 4)
		for _, op := range rapid.SliceOfN(operation, 40, 160).Draw(r, "operations") {
			p.step(op[0], op[1], op[2], op[3])
		}
	})
}

func everyByte() (all []byte) {
	for v := range 256 {
		all = append(all, byte(v))
	}
	return all
}

// failing is a testing.TB whose failures are rapid's.
type failing struct {
	testing.TB
	r *rapid.T
}

func (f failing) Helper()                           { f.r.Helper() }
func (f failing) Fatal(args ...any)                 { f.r.Fatal(args...) }
func (f failing) Fatalf(format string, args ...any) { f.r.Fatalf(format, args...) }

func FuzzChip(f *testing.F) {
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := newPair(t)
		for ops = ops[:min(len(ops), 4096)]; len(ops) >= 4; ops = ops[4:] {
			p.step(ops[0], ops[1], ops[2], ops[3])
		}
	})
}
