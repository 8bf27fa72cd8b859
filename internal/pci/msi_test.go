package pci_test

import (
	"encoding/binary"
	"errors"
	"maps"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"

	"pgregory.net/rapid"
)

// source is a device of the host: it checks that it is asked in order.
type source struct {
	tb      pcitest.TB
	enabled bool
	used    map[int]bool
	refuse  error
}

func (s *source) Enable() error {
	if s.enabled {
		s.tb.Errorf("enabled twice")
	}
	if s.refuse == nil {
		s.enabled, s.used = true, map[int]bool{}
	}
	return s.refuse
}

func (s *source) Use(n int) error {
	if !s.enabled || s.used[n] {
		s.tb.Errorf("vector %d is asked for; enabled: %v, before: %v", n, s.enabled, s.used[n])
	}
	s.used[n] = true
	return nil
}

func (s *source) Disable() {
	if !s.enabled {
		s.tb.Errorf("disabled twice")
	}
	s.enabled = false
}

const msiAt = 0x50

// msiRig is a function with MSI at 00:01.0.
type msiRig struct {
	form   pci.MSIForm
	irqs   *pcitest.Interrupts
	msi    *pci.MSI
	source *source
	bus    *pci.Segment
}

func newMSIRig(tb pcitest.TB, form pci.MSIForm, onError func(error)) *msiRig {
	r := &msiRig{form: form, irqs: pcitest.NewInterrupts(tb, 0), source: &source{tb: tb}}
	var err error
	if r.msi, err = pci.NewMSI("f", form, r.irqs, onError); err != nil {
		panic(err)
	}
	r.msi.SetSource(r.source)
	f := pci.NewFunction("f", pci.Identity{VendorID: 1})
	s, err := pci.NewSegment(pcitest.NewDecoder(tb))
	if err := errors.Join(err, r.msi.AttachAt(f, msiAt), s.Attach(pci.Address{Device: 1}, f)); err != nil {
		panic(err)
	}
	r.bus = s
	return r
}

func (r *msiRig) write(off int, v uint64, n int) {
	ecam(r.bus, 1, msiAt+off, binary.LittleEndian.AppendUint64(nil, v)[:n], true)
}

func (r *msiRig) read(off, n int) uint32 {
	p := make([]byte, 4)
	ecam(r.bus, 1, msiAt+off, p[:n], false)
	return binary.LittleEndian.Uint32(p)
}

// TestMSI compares with the specification's account of every form: a vector that is enabled and not masked sends, another one pends, and a message's
// change counts at once.
func TestMSI(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form := pci.MSIForm{Vectors: 1 << rapid.IntRange(0, 5).Draw(t, "log2"), Address64: rapid.Bool().Draw(t, "64"), Maskable: rapid.Bool().Draw(t, "maskable")}
		r := newMSIRig(t, form, func(err error) { t.Errorf("%v", err) })
		dataAt := 8
		if form.Address64 {
			dataAt = 12
		}
		var (
			enabled       bool
			used          = 1
			mask          uint32
			address, data uint64
			pending       = make([]bool, form.Vectors)
			delivered     = make([]map[pci.Message]uint64, form.Vectors)
		)
		for i := range delivered {
			delivered[i] = map[pci.Message]uint64{}
		}
		message := func(n int) (pci.Message, bool) {
			m := pci.Message{Address: address &^ 3, Data: uint32(data)&^uint32(used-1) | uint32(n)}
			_, ok := m.Interrupt()
			return m, ok && enabled && n < used && (!form.Maskable || mask>>n&1 == 0)
		}
		settle := func() {
			for n := range pending {
				if m, live := message(n); live && pending[n] {
					pending[n] = false
					delivered[n][m]++
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"control": func(t *rapid.T) {
				on, log2 := rapid.Bool().Draw(t, "enable"), rapid.IntRange(0, 7).Draw(t, "multiple")
				v := uint64(log2 << 4)
				if on {
					v |= 1
				}
				r.write(2, v|0xff8e, 2) // what is read-only stays
				if on && !enabled {
					clear(pending)
				}
				enabled, used = on, min(1<<log2, form.Vectors)
				settle()
			},
			"address": func(t *rapid.T) {
				v := uint64(0xfee0_0000 | rapid.IntRange(0, 15).Draw(t, "destination")<<12)
				if rapid.IntRange(0, 9).Draw(t, "memory") == 0 {
					v = 0x1000
				}
				r.write(4, v, 4)
				address = v
				settle()
			},
			"data": func(t *rapid.T) {
				data = uint64(rapid.IntRange(0x10, 0xff).Draw(t, "vector"))
				r.write(dataAt, data, 2)
				settle()
			},
			"mask": func(t *rapid.T) {
				if !form.Maskable {
					t.Skip()
				}
				mask = rapid.Uint32().Draw(t, "mask") & uint32(1<<form.Vectors-1)
				r.write(dataAt+4, uint64(mask), 4)
				settle()
			},
			"fire": func(t *rapid.T) {
				n := rapid.IntRange(0, form.Vectors-1).Draw(t, "n")
				r.msi.Vector(n).Fire()
				if m, live := message(n); live {
					delivered[n][m]++
				} else {
					pending[n] = true
				}
			},
			"": func(t *rapid.T) {
				if form.Maskable && enabled {
					var want uint32
					for n, p := range pending {
						if p {
							want |= 1 << n
						}
					}
					if got := r.read(dataAt+8, 4); got != want {
						t.Fatalf("pending %#x, want %#x", got, want)
					}
				}
				for n := range delivered {
					if got := r.msi.Vector(n).(*pcitest.Vector).Delivered(); !maps.Equal(got, delivered[n]) {
						t.Fatalf("vector %d: delivered %v, want %v", n, got, delivered[n])
					}
				}
			},
		})
	})
}

// TestMSIForms: the capability reads as the device's does.
func TestMSIForms(t *testing.T) {
	for _, c := range []struct {
		form    pci.MSIForm
		control uint32
	}{{pci.MSIForm{Vectors: 1}, 0}, {pci.MSIForm{Vectors: 8, Address64: true}, 0x86}, {pci.MSIForm{Vectors: 32, Address64: true, Maskable: true}, 0x18a}} {
		r := newMSIRig(t, c.form, nil)
		check(t, "control", r.read(2, 2), c.control)
		check(t, "id", r.read(0, 1), 5)
	}
	for _, n := range []int{0, 3, 33, 64, -1} {
		if _, err := pci.NewMSI("f", pci.MSIForm{Vectors: n}, pcitest.NewInterrupts(t, 0), nil); err == nil {
			t.Errorf("%d vectors", n)
		}
	}
}

// TestSource: a device that cannot be enabled leaves its vectors dead and says why once; one that can is asked for what is used only.
func TestSource(t *testing.T) {
	var errs []error
	r := newMSIRig(t, pci.MSIForm{Vectors: 4, Maskable: true}, func(err error) { errs = append(errs, err) })
	r.write(4, 0xfee00000, 4)
	r.write(8, 0x40, 2)
	r.write(12, 0xd, 4) // all but vector 1
	r.source.refuse = errors.New("it has gone")
	r.write(2, 0x21, 2)
	if len(errs) != 1 || errs[0].Error() != "pci function f: MSI vector 0: it has gone" {
		t.Error(errs)
	}
	r.msi.Vector(1).Fire()
	check(t, "delivered", r.msi.Vector(1).(*pcitest.Vector).Total(), 0)
	r.source.refuse = nil
	r.write(2, 0, 2)
	r.write(2, 0x21, 2)
	check(t, "used", len(r.source.used), 1)
	r.write(12, 0, 4)
	r.write(12, 0xf, 4)
	r.write(12, 0, 4)
	check(t, "used", len(r.source.used), 4)
	r.bus.Reset()
	check(t, "enabled", r.source.enabled, false)
}
