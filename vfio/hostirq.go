package vfio

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// HostIRQ is one of a device's interrupts as the host's /proc/interrupts has it.
type HostIRQ struct {
	IRQ        int
	Count      uint64 // on all processors
	Controller string // such as IR-PCI-MSI
	Affinity   string // the processors that it goes to, as a list; empty where the host does not say
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
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the host's interrupts: %w", err)
	}
	defer f.Close()
	prefix := map[int]string{irqINTx: "vfio-intx", irqMSI: "vfio-msi[", irqMSIX: "vfio-msix["}[index]
	rows := map[int]HostIRQ{}
	lines := bufio.NewScanner(f)
	cpus := 0
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if cpus == 0 {
			cpus = len(words) // the head: CPU0 CPU1 ...
			continue
		}
		if len(words) < cpus+2 {
			continue
		}
		// An INTx line can have several names, separated by commas.
		at := -1
		for i, w := range words[cpus+1:] {
			if w = strings.TrimSuffix(w, ","); strings.HasPrefix(w, prefix) && strings.HasSuffix(w, "("+address+")") {
				at = cpus + 1 + i
			}
		}
		irq, err := strconv.Atoi(strings.TrimSuffix(words[0], ":"))
		if at < 0 || err != nil {
			continue
		}
		row := HostIRQ{IRQ: irq, Controller: words[cpus+1], Affinity: affinity(filepath.Dir(path), irq)}
		for _, w := range words[1 : cpus+1] {
			n, err := strconv.ParseUint(w, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("the host's interrupts: row %d: %w", irq, err)
			}
			row.Count += n
		}
		vector := 0
		if number, ok := strings.CutPrefix(words[at], prefix); ok && index != irqINTx {
			number, _, _ = strings.Cut(number, "]")
			if vector, err = strconv.Atoi(number); err != nil {
				continue
			}
		}
		rows[vector] = row
	}
	return rows, lines.Err()
}
