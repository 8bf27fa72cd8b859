package sysfs

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// IRTE is a row of an interrupt remapping table: what an IOMMU makes of one of a device's messages (VT-d specification, sections 9.10 and 9.11).
type IRTE struct {
	IOMMU string `json:"iommu"`
	Entry int    `json:"entry"`
	// Source is the only device that may use the row: bus, device and function.
	Source string `json:"source"`
	// Posted says that the IOMMU posts by it; otherwise it remaps.
	Posted bool  `json:"posted"`
	Vector uint8 `json:"vector"` // the host's, or the guest's if it is posted
	// Destination is the host processor's APIC id, or the address of the posted-interrupt descriptor.
	Destination uint64 `json:"destination"`
}

func (e IRTE) String() string {
	kind := "remapped"
	if e.Posted {
		kind = "posted"
	}
	return fmt.Sprintf("%s[%d] %s", e.IOMMU, e.Entry, kind)
}

const (
	debugfs = "sys/kernel/debug"
	// irTable is Intel's alone, with CONFIG_INTEL_IOMMU_DEBUGFS.
	irTable = debugfs + "/iommu/intel/ir_translation_struct"
	// irqDomains has a file for each of the host's interrupts, with CONFIG_GENERIC_IRQ_DEBUGFS.
	irqDomains = debugfs + "/irq/irqs"
)

// IRTable reads the remapping tables. The error says why the host does not show them.
func (h Host) IRTable() ([]IRTE, error) {
	text, err := os.ReadFile(h.path(irTable))
	if err != nil {
		return nil, fmt.Errorf("the host does not show its remapping tables: debugfs, with CONFIG_INTEL_IOMMU_DEBUGFS, has them: %w", err)
	}
	return parseIRTable(string(text)), nil
}

var (
	irSection = regexp.MustCompile(`^(Remapped|Posted) Interrupt supported on IOMMU: (\S+)`)
	// Two numbers for a posted row's descriptor, one for a remapped row's destination; then the vector and the row itself.
	irRow = regexp.MustCompile(`^\s*(\d+)\s+([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+([0-9a-f]{8})\s+(?:([0-9a-f]{8})\s+)?([0-9a-f]{2})\s+[0-9a-f]{16}\s+[0-9a-f]{16}`)
)

// parseIRTable reads what intel-iommu's debugfs.c writes.
func parseIRTable(text string) (rows []IRTE) {
	var iommu string
	posted := false
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if m := irSection.FindStringSubmatch(lines.Text()); m != nil {
			posted, iommu = m[1] == "Posted", m[2]
			continue
		}
		m := irRow.FindStringSubmatch(lines.Text())
		if m == nil || iommu == "" || posted != (m[4] != "") {
			continue
		}
		e := IRTE{IOMMU: iommu, Source: m[2], Posted: posted}
		e.Entry, _ = strconv.Atoi(m[1]) // digits, by the expression
		high, _ := strconv.ParseUint(m[3], 16, 32)
		e.Destination = high
		if posted {
			low, _ := strconv.ParseUint(m[4], 16, 32)
			e.Destination = high<<32 | low
		}
		vector, _ := strconv.ParseUint(m[5], 16, 8)
		e.Vector = uint8(vector)
		rows = append(rows, e)
	}
	return rows
}

// EntryOf finds the row of one of the host's interrupts among those of IRTable. The interrupt's own file has the row's number; without such files the
// device's rows are taken to be in the order of its vectors, of which this is one.
func (h Host) EntryOf(rows []IRTE, source Address, irq, vector int) *IRTE {
	entry, known := h.remappingEntry(irq)
	nth := 0
	name := strings.TrimPrefix(source.String(), "0000:")
	for i, r := range rows {
		if r.Source != name {
			continue
		}
		if known && r.Entry == entry || !known && nth == vector {
			return &rows[i]
		}
		nth++
	}
	return nil
}

// remappingDomain is in an interrupt's file what the remapping has it as: INTEL-IR-0, and the row's number in the upper half of its hwirq.
var remappingDomain = regexp.MustCompile(`domain:\s+INTEL-IR-\d+\S*\s+hwirq:\s+0x([0-9a-f]+)`)

func (h Host) remappingEntry(irq int) (entry int, ok bool) {
	text, err := os.ReadFile(h.path(irqDomains, strconv.Itoa(irq)))
	if err != nil {
		return 0, false
	}
	m := remappingDomain.FindSubmatch(text)
	if m == nil {
		return 0, false
	}
	hwirq, err := strconv.ParseUint(string(m[1]), 16, 64)
	return int(hwirq >> 16), err == nil
}
