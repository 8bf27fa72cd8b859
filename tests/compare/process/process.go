// Package process looks at a running VMM from outside, by /proc: what it holds beside its guest's memory, and what it works.
package process

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// ResidentBeyond is the resident set of a process, in bytes, without the mappings that are large enough to be the memory of a guest with
// that many bytes.
func ResidentBeyond(pid int, guest uint64) (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var total, size uint64
	s := bufio.NewScanner(f)
	for s.Scan() {
		var kb uint64
		if n, _ := fmt.Sscanf(s.Text(), "Size: %d kB", &kb); n == 1 {
			size = kb << 10
		}
		if n, _ := fmt.Sscanf(s.Text(), "Rss: %d kB", &kb); n == 1 && size < guest/2 {
			total += kb << 10
		}
	}
	return total, s.Err()
}

// ticks are USER_HZ, in which /proc tells times; it is the same on every architecture that Go knows.
const ticks = 100

// OwnSeconds is the processor time that a process took for itself, in user and kernel mode: without its guests'.
func OwnSeconds(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return ownSeconds(string(b))
}

// ownSeconds reads proc(5)'s utime, stime and guest_time, which is part of utime; they are fields 14, 15 and 43, and the name in field 2 may
// hold anything.
func ownSeconds(stat string) (float64, error) {
	at := strings.LastIndexByte(stat, ')')
	f := strings.Fields(stat[at+1:])
	const third = 3 // the number of f[0]
	if at < 0 || len(f) <= 43-third {
		return 0, fmt.Errorf("/proc/PID/stat: %.80q", stat)
	}
	var user, system, guest uint64
	if _, err := fmt.Sscan(f[14-third]+" "+f[15-third]+" "+f[43-third], &user, &system, &guest); err != nil {
		return 0, fmt.Errorf("/proc/PID/stat: %w", err)
	}
	return float64(user-min(guest, user)+system) / ticks, nil
}
