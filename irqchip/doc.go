// Package irqchip is the machine's interrupt controllers and the lines that lead to them.
//
// A device owns a Line and raises it; it cannot tell which controller is behind. A line is an eventfd bound to a GSI by
// irqfd: raising it is one write(2), from any thread, without a lock or an allocation.
package irqchip
