// Package probe finds out what a host can do for doorbell, and says for each thing how it knows.
//
// A capability that KVM claims is tried where trying is cheap: an irqchip is created, an irqfd is bound, a handful of
// instructions is run. What cannot be tried without changing the host is read from /proc and /sys, and the file is named.
package probe
