package pcitest

import (
	"errors"

	"doorbell/internal/pci"
)

// Decoder is a machine's map that holds nothing but BARs. It complains about overlaps and about changes that make no sense. Refuse, if not
// nil, says what is taken by something else.
type Decoder struct {
	TB     TB
	Refuse func(base, size uint64) bool
	At     map[*pci.BAR]uint64
}

// NewDecoder makes an empty map.
func NewDecoder(tb TB) *Decoder { return &Decoder{TB: tb, At: map[*pci.BAR]uint64{}} }

// Map implements pci.Decoder.
func (d *Decoder) Map(b *pci.BAR, base uint64) error {
	if d.Refuse != nil && d.Refuse(base, b.Size) {
		return errors.New("the address is taken")
	}
	if _, ok := d.At[b]; ok {
		d.TB.Errorf("%s is mapped twice", b.Name())
	}
	for o, at := range d.At {
		if (o.Kind == pci.Port) == (b.Kind == pci.Port) && base < at+o.Size && at < base+b.Size {
			d.TB.Errorf("%s at %#x overlaps %s at %#x", b.Name(), base, o.Name(), at)
		}
	}
	d.At[b] = base
	return nil
}

// Unmap implements pci.Decoder.
func (d *Decoder) Unmap(b *pci.BAR, base uint64) {
	if at, ok := d.At[b]; !ok || at != base {
		d.TB.Errorf("%s is unmapped from %#x, where it is not", b.Name(), base)
	}
	delete(d.At, b)
}
