package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"doorbell/internal/netconf"
	"doorbell/internal/threads"
	"doorbell/internal/traffic/wire"
)

// configure changes what is set in c, in the order of its fields; the first failure ends it.
func configure(name string, c *wire.Configure) error {
	if name == "" {
		return errors.New("configure: which interface?")
	}
	n, err := netconf.OpenNIC(name)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	defer n.Close()
	if c.MTU != 0 {
		err = netconf.SetMTU(name, c.MTU)
	}
	if err == nil && c.Combined != 0 {
		err = n.SetCombined(c.Combined)
	}
	if err == nil && c.Rings != nil {
		err = n.SetRings(*c.Rings)
	}
	if err == nil && len(c.Features) > 0 {
		err = n.SetFeatures(c.Features)
	}
	if err == nil && c.Coalesce != nil {
		err = n.SetCoalesce(*c.Coalesce)
	}
	if err == nil {
		err = eachSorted(c.PerQueue, func(queue string, v netconf.Coalesce) error {
			number, err := strconv.Atoi(queue)
			if err != nil {
				return fmt.Errorf("queue %.20q is not a number", queue)
			}
			return n.SetQueueCoalesce(number, v)
		})
	}
	if err == nil && c.RSS != nil {
		err = n.SetRSS(*c.RSS)
	}
	if err == nil {
		err = eachSorted(c.HashFields, n.SetHashFields)
	}
	if err == nil {
		err = eachSorted(c.IRQAffinity, setAffinity)
	}
	if err == nil {
		err = eachSorted(c.RPS, func(queue, mask string) error { return netconf.SetRPS(name, queue, mask) })
	}
	if err == nil && c.Polling != nil {
		err = netconf.SetPolling(name, *c.Polling)
	}
	if err == nil && len(c.CPUs) > 0 {
		err = runOn(c.CPUs)
	}
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

func runOn(cpus []int) error {
	set, err := threads.Set(cpus)
	if err != nil {
		return err
	}
	return threads.RunOn(&set)
}

func eachSorted[V any](m map[string]V, do func(string, V) error) error {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := do(k, m[k]); err != nil {
			return err
		}
	}
	return nil
}

// setAffinity writes a list of CPUs to an interrupt.
func setAffinity(irq, cpus string) error {
	if irq == "" || strings.Trim(irq, "0123456789") != "" {
		return fmt.Errorf("interrupt %.20q is not a number", irq)
	}
	if err := os.WriteFile(filepath.Join("/proc/irq", irq, "smp_affinity_list"), []byte(cpus), 0); err != nil {
		return fmt.Errorf("interrupt %s to CPUs %.40q: %w", irq, cpus, err)
	}
	return nil
}
