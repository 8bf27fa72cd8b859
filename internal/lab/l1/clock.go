package l1

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ClockComplaint begins what L1 says when its kernel did not get to know its clocks, which another start may do better.
const ClockComplaint = "the kernel's clocks: "

// clockPatience is how long the kernel may take for its second measurement of the TSC: one second, and another each time that it was disturbed.
const clockPatience = 20 * time.Second

// Where the kernel says by what it tells the time, and what wakes the first processor.
const (
	clockSource = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
	clockEvents = "/sys/devices/system/clockevents/clockevent0/current_device"
)

// awaitClock waits until the kernel goes by its TSC, which it does when it has measured that for the last time, and returns an error if it never does or if
// it will not use its local APIC's timer.
//
// KVM gives its guests the frequency of when it was loaded. Where the kernel finds a higher one after that, by more than 250 millionths, KVM says "user
// requested TSC rate below hardware speed" and leaves their TSC standing (kvm_set_tsc_khz): timers come minutes late. On a busy machine an emulated PM timer
// and a TSC differ by that much. And without a frequency there are no guests: they take no interrupts.
func awaitClock() error {
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		source, err := os.ReadFile(clockSource)
		if err == nil && strings.TrimSpace(string(source)) == "tsc" {
			break
		}
		if err == nil && time.Since(start) > clockPatience {
			err = fmt.Errorf("the clock source is %q, not the TSC, after %v", strings.TrimSpace(string(source)), clockPatience)
		}
		if err != nil {
			return errors.New(ClockComplaint + err.Error())
		}
	}
	events, err := os.ReadFile(clockEvents)
	if err == nil && !strings.HasPrefix(string(events), "lapic") {
		err = fmt.Errorf("the first processor is woken by %q, not by its local APIC", strings.TrimSpace(string(events)))
	}
	if err != nil {
		return errors.New(ClockComplaint + err.Error())
	}
	return nil
}
