// Package guestreport is what the guest's agent and the host tell each other:
// the guest's own counts of interrupts, softirqs and CPU time, and the work
// that the host asks for. The parsers read the kernel's text as documented in
// Documentation/filesystems/proc.rst; they never fail on what a newer kernel
// adds at the end of a line, and every count is kept as the guest printed it.
//
// Units are in the JSON names. Times of /proc/stat are in ticks of
// 1/UserHz s.
package guestreport

// UserHz is the number of ticks a second of all times in /proc/stat: the
// kernel fixes it for user space, whatever its own timer frequency.
const UserHz = 100
