package main

import (
	"os"

	"doorbell/internal/guestreport"
)

// takeSnapshot reads the kernel's counters. The text is read before any of it
// is parsed, so that the three are close to each other.
func takeSnapshot() (guestreport.Snapshot, error) {
	s := guestreport.Snapshot{UptimeNs: bootClock()}
	var texts [3]string
	for i, path := range []string{"/proc/interrupts", "/proc/softirqs", "/proc/stat"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return s, err
		}
		texts[i] = string(text)
	}
	var err error
	if s.Interrupts, err = guestreport.ParseInterrupts(texts[0]); err != nil {
		return s, err
	}
	if s.Softirqs, err = guestreport.ParseSoftirqs(texts[1]); err != nil {
		return s, err
	}
	s.Stat, err = guestreport.ParseStat(texts[2])
	return s, err
}

// show copies a file to the console.
func show(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}
