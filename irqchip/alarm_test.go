package irqchip

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestAlarms: an alarm goes off once, not before its time, and not after it was taken back; one that is set again goes off at the later time.
func TestAlarms(t *testing.T) {
	a, err := newAlarms()
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	var fired, other atomic.Int64
	first, err := a.add(func() { fired.Store(c.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.add(func() { other.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	a.start()
	defer a.close()
	excused := int64(0)
	for range 20 {
		fired.Store(0)
		at := c.Now() + int64(2*time.Millisecond)
		sooner := at - int64(time.Millisecond)
		first.set(sooner, true)
		first.set(at, true)
		late := c.Now() >= sooner // this thread was not given the time: the alarm went off as it was set at first, perhaps
		second.set(at, true)
		second.set(0, false)
		if c.Now() >= at {
			excused++
		}
		waitFor(t, "the alarm", func() bool { n := fired.Load(); return n >= at || n != 0 && !late })
		if n := fired.Load(); n < at {
			t.Fatalf("%d ns early", at-n)
		}
	}
	first.set(c.Now()-1, true) // has passed
	fired.Store(0)
	first.set(1, true)
	waitFor(t, "an alarm of the past", func() bool { return fired.Load() != 0 })
	if other.Load() > excused {
		t.Error("an alarm that was taken back went off")
	}
}

func TestAlarmAllocatesNothing(t *testing.T) {
	a, err := newAlarms()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	al, err := a.add(func() {})
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	if n := testing.AllocsPerRun(100, func() { al.set(c.Now()+int64(time.Hour), true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
