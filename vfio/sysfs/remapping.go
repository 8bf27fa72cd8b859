package sysfs

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"doorbell/internal/guestreport"
)

// ErrNoIOMMU is the cause on a host without one.
var ErrNoIOMMU = errors.New("this host has no IOMMU in use: enable it in the firmware and boot with intel_iommu=on (AMD: amd_iommu=on)")

// Remapping is whether the host's IOMMUs check where devices' interrupts go. Without it a device, and so the guest that owns it, can write any
// vector to any processor of the host.
type Remapping struct {
	On       bool
	Evidence string // how that is known
	IOMMUs   []IOMMU
}

// IOMMU is one remapping unit.
type IOMMU struct {
	Name string // as below /sys/class/iommu
	// What the hardware offers; nil where its registers are not shown or not understood.
	Interrupts *bool // remaps them
	X2APIC     *bool // to 32-bit destinations (Intel: EIM)
	Posting    *bool // into a running guest (Intel: PI; AMD: guest virtual APIC)
}

// Bits of Intel's extended capability register (VT-d specification, section 11.4.3) and of the capability register (section 11.4.2).
const (
	ecapIR  = 1 << 3
	ecapEIM = 1 << 4
	capPI   = 1 << 59
)

// Bits of AMD's extended feature register (AMD I/O Virtualization specification, section 3.4.11).
const (
	featureXT   = 1 << 2 // x2APIC
	featureGA   = 1 << 7 // guest virtual APIC
	amdRemapped = true   // each IOMMU of AMD's remaps interrupts
)

// Remapping looks at the host's interrupts: where they are remapped, Linux calls their controllers IR-IO-APIC, IR-PCI-MSI and so on.
func (h Host) Remapping() (Remapping, error) {
	r := Remapping{IOMMUs: h.iommus()}
	if !h.HasIOMMU() {
		r.Evidence = "no device is in an IOMMU group"
		return r, nil
	}
	text, err := os.ReadFile(h.path("proc/interrupts"))
	if err != nil {
		return r, fmt.Errorf("interrupt remapping: %w", err)
	}
	table, err := guestreport.ParseInterrupts(string(text))
	if err != nil {
		return r, fmt.Errorf("interrupt remapping: %w", err)
	}
	remapped, plain := "", ""
	for _, row := range table.Rows {
		switch {
		case strings.HasPrefix(row.Chip, "IR-"):
			remapped = cmp.Or(remapped, row.Chip)
		case row.Chip == "IO-APIC" || row.Chip == "PCI-MSI" || strings.HasPrefix(row.Chip, "PCI-MSIX-") || strings.HasPrefix(row.Chip, "PCI-MSI-"):
			plain = cmp.Or(plain, row.Chip)
		}
	}
	switch {
	case plain != "":
		r.Evidence = "/proc/interrupts has " + plain + " without IR-"
	case remapped != "":
		r.On, r.Evidence = true, "/proc/interrupts has "+remapped
	default:
		r.Evidence = "/proc/interrupts has no controller of a device's interrupts"
	}
	return r, nil
}

// iommus reads what sysfs shows of the units.
func (h Host) iommus() (all []IOMMU) {
	dirs, _ := filepath.Glob(h.path("sys/class/iommu", "*")) // the pattern is well formed
	slices.Sort(dirs)
	for _, dir := range dirs {
		u := IOMMU{Name: filepath.Base(dir)}
		if ecap, ok := hexFile(dir, "intel-iommu/ecap"); ok {
			u.Interrupts, u.X2APIC = bit(ecap, ecapIR), bit(ecap, ecapEIM)
		}
		if c, ok := hexFile(dir, "intel-iommu/cap"); ok {
			u.Posting = bit(c, capPI)
		}
		if features, ok := hexFile(dir, "amd-iommu/features"); ok {
			on := amdRemapped
			u.Interrupts, u.X2APIC, u.Posting = &on, bit(features, featureXT), bit(features, featureGA)
		}
		all = append(all, u)
	}
	return all
}

func bit(v, mask uint64) *bool {
	b := v&mask != 0
	return &b
}

// hexFile reads a register, which sysfs shows in hexadecimal without a prefix; several, separated by colons, begin with the one meant.
func hexFile(dir, name string) (uint64, bool) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, false
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), ":")
	v, err := strconv.ParseUint(first, 16, 64)
	return v, err == nil
}
