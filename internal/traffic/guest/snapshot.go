package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"
	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

// takeSnapshot reads the counters first and close to each other, then the settings. An interface without a name is left out.
func takeSnapshot(name string) (*wire.Snapshot, error) {
	s := &wire.Snapshot{Interface: name}
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &clock); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s.UptimeNs = clock.Nano()
	if err := readCounters(&s.Snapshot); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if name != "" {
		if err := readCard(s); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	for _, row := range s.Interrupts.Rows {
		if a, ok := affinity(row); ok {
			s.Affinity = append(s.Affinity, a)
		}
	}
	return s, nil
}

func readCounters(s *guestreport.Snapshot) error {
	var texts [3]string
	for i, path := range []string{"/proc/interrupts", "/proc/softirqs", "/proc/stat"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		texts[i] = string(text)
	}
	var err error
	if s.Interrupts, err = guestreport.ParseInterrupts(texts[0]); err != nil {
		return err
	}
	if s.Softirqs, err = guestreport.ParseSoftirqs(texts[1]); err != nil {
		return err
	}
	s.Stat, err = guestreport.ParseStat(texts[2])
	return err
}

// readCard asks the driver for everything; what it refuses is noted.
func readCard(s *wire.Snapshot) error {
	link, err := netconf.LinkByName(s.Interface)
	if err != nil {
		return err
	}
	s.Link, s.MTU = link.Statistics, link.MTU
	n, err := netconf.OpenNIC(s.Interface)
	if err != nil {
		return err
	}
	defer n.Close()
	refused := func(err error) bool {
		if err != nil {
			s.Refused = append(s.Refused, err.Error())
		}
		return err != nil
	}
	s.Stats, err = n.Stats()
	refused(err)
	s.Driver, err = n.Driver()
	refused(err)
	s.Features, err = n.Features()
	refused(err)
	if c, err := n.Channels(); !refused(err) {
		s.Channels = &c
	}
	if r, err := n.Rings(); !refused(err) {
		s.Rings = &r
	}
	if c, err := n.Coalesce(); !refused(err) {
		s.Coalesce = &c
	}
	if p, err := netconf.ReadPolling(s.Interface); !refused(err) {
		s.Polling = &p
	}
	if r, err := n.RSS(); !refused(err) {
		s.RSS = &r
		s.HashFields = map[string]string{}
		for _, flow := range []string{"tcp4", "udp4", "ipv4", "tcp6", "udp6", "ipv6"} {
			if fields, err := n.HashFields(flow); !refused(err) {
				s.HashFields[flow] = fields
			}
		}
	}
	s.VirtioFeatures = virtioFeatures(oneValue(filepath.Join("/sys/class/net", s.Interface, "device/features")))
	s.Queues = queues(filepath.Join("/sys/class/net", s.Interface, "queues"))
	return nil
}

// virtioFeatures reads a device's file features: a digit for each bit, the lowest first.
func virtioFeatures(text string) (features uint64) {
	for bit, digit := range text {
		if digit == '1' && bit < 64 {
			features |= 1 << bit
		}
	}
	return features
}

// queues are the entries of the folder; none where sysfs is of another network namespace.
func queues(dir string) []wire.Queue {
	entries, _ := os.ReadDir(dir)
	var all []wire.Queue
	for _, e := range entries {
		file := "rps_cpus"
		if strings.HasPrefix(e.Name(), "tx-") {
			file = "xps_cpus"
		}
		all = append(all, wire.Queue{Name: e.Name(), CPUs: oneValue(filepath.Join(dir, e.Name(), file))})
	}
	slices.SortFunc(all, func(a, b wire.Queue) int {
		if len(a.Name) != len(b.Name) { // rx-10 is after rx-9
			return len(a.Name) - len(b.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// affinity reads where an interrupt goes; the architecture's own vectors have no such file.
func affinity(row guestreport.Interrupt) (wire.Affinity, bool) {
	if strings.Trim(row.IRQ, "0123456789") != "" {
		return wire.Affinity{}, false
	}
	dir := filepath.Join("/proc/irq", row.IRQ)
	a := wire.Affinity{IRQ: row.IRQ, Name: row.Name, Allowed: oneValue(filepath.Join(dir, "smp_affinity_list")), Effective: oneValue(filepath.Join(dir, "effective_affinity_list"))}
	return a, a.Allowed != "" || a.Effective != ""
}

// oneValue is a small file's text, empty where it cannot be read.
func oneValue(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// since is for durations in answers.
func since(start time.Time) int64 { return time.Since(start).Nanoseconds() }
