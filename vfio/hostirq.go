package vfio

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"doorbell/internal/guestreport"
	"doorbell/vfio/sysfs"
)

// HostIRQ is one of a device's interrupts as the host's /proc/interrupts has it.
type HostIRQ struct {
	IRQ        int
	Count      uint64      // on all processors
	Controller string      // such as IR-PCI-MSI
	Affinity   string      // the processors that it goes to, as a list; empty where the host does not say
	Remapping  *sysfs.IRTE // its row of the IOMMU's interrupt remapping table; nil where the host does not show it
}

// withRemapping finds the rows' entries in the remapping tables.
func withRemapping(host sysfs.Host, source sysfs.Address, rows map[int]HostIRQ) {
	table, err := host.IRTable()
	if err != nil {
		return
	}
	for vector, r := range rows {
		r.Remapping = host.EntryOf(table, source, r.IRQ, vector)
		rows[vector] = r
	}
}

// affinity is where the host has its interrupt controllers send an interrupt.
func affinity(proc string, irq int) string {
	text, err := os.ReadFile(filepath.Join(proc, "irq", strconv.Itoa(irq), "effective_affinity_list"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// hostIRQs are a device's interrupts of a kind by vector: vfio-pci names them vfio-msix[2](0000:00:04.0), vfio-msi[0](...) and vfio-intx(...).
func hostIRQs(path, address string, index int) (map[int]HostIRQ, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the host's interrupts: %w", err)
	}
	table, err := guestreport.ParseInterrupts(string(text))
	if err != nil {
		return nil, fmt.Errorf("the host's interrupts: %w", err)
	}
	prefix := map[int]string{irqINTx: "vfio-intx", irqMSI: "vfio-msi[", irqMSIX: "vfio-msix["}[index]
	rows := map[int]HostIRQ{}
	for _, r := range table.Rows {
		vector, ours := vectorNamed(r.Name, prefix, address)
		irq, err := strconv.Atoi(r.IRQ)
		if ours && err == nil {
			rows[vector] = HostIRQ{IRQ: irq, Count: r.Total, Controller: r.Chip, Affinity: affinity(filepath.Dir(path), irq)}
		}
	}
	return rows, nil
}

// vectorNamed finds the name of a device's vector among those of a row, which several devices share if it is an INTx line's.
func vectorNamed(names, prefix, address string) (vector int, ok bool) {
	for name := range strings.SplitSeq(names, ", ") {
		number, found := strings.CutPrefix(name, prefix)
		if number, ours := strings.CutSuffix(number, "("+address+")"); found && ours {
			if number == "" {
				return 0, true
			}
			vector, err := strconv.Atoi(strings.TrimSuffix(number, "]"))
			return vector, err == nil
		}
	}
	return 0, false
}
