package main

import "testing"

// The driver's header says the same: its structure has no padding that would differ, and the request's number has its size.
func TestIRQProbeABI(t *testing.T) {
	if probeRunSize != 112 || probeRunRequest != 0xc0706401 {
		t.Errorf("struct irqprobe_run has %d bytes, the request is %#x", probeRunSize, uint64(probeRunRequest))
	}
}

func TestProbeStageWhere(t *testing.T) {
	for _, c := range []struct {
		context uint32
		task    string
		want    string
	}{
		{inHardirq | irqsOff, "swapper/1", "hard IRQ"},
		{inHardirq | inSoftirq, "swapper/1", "hard IRQ"}, // it interrupted one
		{inSoftirq, "swapper/1", "softirq"},
		{inSoftirq, "ksoftirqd/1", "softirq in ksoftirqd"},
		{inSoftirq | realtimeTask, "irq/27-irqprobe", "softirq in irq thread"},
		{realtimeTask, "irq/27-irqprobe", "irq thread"},
		{0, "kworker/1:2", "kworker"},
		{0, "kworker/u4:1", "kworker"},
	} {
		s := probeStage{Context: c.context}
		copy(s.Task[:], c.task)
		if got := s.where(); got != c.want {
			t.Errorf("%#x in %s: %q, want %q", c.context, c.task, got, c.want)
		}
	}
}

func TestParseIRQProbe(t *testing.T) {
	if w, err := parseWorkload("irqprobe=200"); err != nil || w.run == nil {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"irqprobe=0", "irqprobe=-1", "irqprobe=x", "irqprobe=", "irqprobe=100001", "irqprobe"} {
		if _, err := parseWorkload(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestModuleParameters(t *testing.T) {
	const line = `quiet irqprobe.intx=1 virtio_net.napi_tx=0 irqprobe.name="a b" irq-probe.x irqprobe.y=2 -- z`
	for name, want := range map[string]string{"irqprobe": `intx=1 "name=a b" y=2`, "virtio_net": "napi_tx=0", "virtio-net": "napi_tx=0", "irq_probe": "x", "none": ""} {
		if got := moduleParameters(line, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
