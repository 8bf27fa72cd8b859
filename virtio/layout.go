package virtio

import "fmt"

// BAR 0 holds the structures of section 4.1.4, each small: the machine keeps a counter per register. BAR 2 holds MSI-X's table and
// pending bits.
const (
	structuresBAR = 0
	msixBAR       = 2

	commonOffset = 0x000
	commonSize   = 0x03c
	isrOffset    = 0x040
	isrSize      = 1
	deviceOffset = 0x100
	deviceSize   = 0x300
	notifyOffset = 0x400

	// notifyMultiplier gives every queue an address of its own, so that the address alone tells the queue.
	notifyMultiplier = 4

	// maxQueues keeps the structures in one page.
	maxQueues = (0x1000 - notifyOffset) / notifyMultiplier
)

// structure is one of the pieces of BAR 0.
type structure struct {
	offset, size uint64
	read         func(off int, p []byte)
	write        func(off int, p []byte)
	name         func(off int) string
}

// structures is the BAR's handler. The pieces are sorted; what is between them reads as zero.
type structures []structure

func (s structures) find(off uint64) *structure {
	for i := range s {
		if t := &s[i]; off >= t.offset && off-t.offset < t.size {
			return t
		}
	}
	return nil
}

// access hands the part of an access that lies within the structure at its start to it.
func (s structures) access(off uint64, p []byte) (t *structure, at int, within []byte) {
	if t = s.find(off); t == nil {
		return nil, 0, nil
	}
	return t, int(off - t.offset), p[:min(uint64(len(p)), t.offset+t.size-off)]
}

func (s structures) Read(off uint64, p []byte) {
	clear(p)
	if t, at, within := s.access(off, p); t != nil && t.read != nil {
		t.read(at, within)
	}
}

func (s structures) Write(off uint64, p []byte) {
	if t, at, within := s.access(off, p); t != nil && t.write != nil {
		t.write(at, within)
	}
}

func (s structures) RegisterName(off uint64, _ bool) string {
	if t := s.find(off); t != nil {
		return t.name(int(off - t.offset))
	}
	return fmt.Sprintf("%#x", off)
}

// msixHandler is BAR 2: the table, then the pending bits.
type msixHandler struct{ t *PCI }

func (h msixHandler) Read(off uint64, p []byte) {
	if size := h.t.msix.TableSize(); off < size {
		h.t.msix.ReadTable(off, p)
	} else {
		h.t.msix.ReadPBA(off-size, p)
	}
}

func (h msixHandler) Write(off uint64, p []byte) { h.t.msix.WriteTable(off, p) }

func (h msixHandler) RegisterName(off uint64, _ bool) string {
	size := h.t.msix.TableSize()
	switch {
	case off < size:
		return h.t.msix.TableRegisterName(off)
	case off < size+h.t.msix.PBASize():
		return "MSI-X pending bits"
	}
	return fmt.Sprintf("%#x", off)
}
