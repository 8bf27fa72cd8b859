package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/netconf"
)

// Values of doorbell.net=, beside static=.
const (
	netAuto = "" // DHCP where there is a card
	netDHCP = "dhcp"
	netOff  = "off"
)

const netStatic = "static="

// Bounds of what the network may take before the workload.
const (
	cardPatience = 2 * time.Second // from the driver's binding to the interface
	netPatience  = 10 * time.Second
)

// sysBus has a folder for each bus.
const sysBus = "/sys/bus"

// resolvConf is where resolvers look (resolv.conf(5)).
const resolvConf = "/etc/resolv.conf"

// parseNet checks the value of doorbell.net=.
func parseNet(value string) error {
	if value == netDHCP || value == netOff {
		return nil
	}
	if static, ok := strings.CutPrefix(value, netStatic); ok {
		if _, err := netconf.ParseStatic(static); err != nil {
			return fmt.Errorf("network: %w", err)
		}
		return nil
	}
	return fmt.Errorf("network %.80q is not dhcp, off or static=ADDRESS/LENGTH[,GATEWAY[,DNS]]", value)
}

// bringUpNetwork gives the first card its address, in bounded time, and tells a person. A guest without a network is a guest
// nevertheless.
func (a *agent) bringUpNetwork() {
	if a.options.net == netOff {
		return
	}
	start := time.Now()
	card, err := findCard(sysBus, a.options.net != netAuto)
	if err == nil && card.Name == "" {
		return // there is none, and nobody asked for one
	}
	n := &guestreport.Network{Interface: card.Name, MAC: card.MAC.String(), MTU: card.MTU}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), netPatience)
		err = configureCard(ctx, a.options.net, resolvConf, n)
		cancel()
	}
	n.DurationNs = time.Since(start).Nanoseconds()
	a.network = n
	if err != nil {
		n.Error = oneLine(err.Error())
		a.complain(fmt.Errorf("network: %w", err))
		return
	}
	os.Stdout.WriteString(networkLine(n))
}

// findCard returns the first card, and waits for it where a driver is about to make it one. Without any it returns none; that is an
// error if somebody asked for it.
func findCard(buses string, asked bool) (netconf.Link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cardPatience)
	defer cancel()
	if !cardExpected(buses) {
		cancel() // one look
	}
	card, err := netconf.WaitLink(ctx, netconf.Link.Card)
	switch {
	case err == nil:
		return card, nil
	case !errors.Is(err, netconf.ErrNoLink):
		return netconf.Link{}, err
	case errors.Is(err, context.DeadlineExceeded):
		return netconf.Link{}, errors.New("a card has a driver, but no interface appeared")
	case asked:
		return netconf.Link{}, errors.New("this machine has no card that a driver drives")
	}
	return netconf.Link{}, nil
}

// cardExpected says whether a device that a driver has bound is, or carries, a network card: one of PCI's class 2, and virtio's type
// 1 wherever it hangs.
func cardExpected(buses string) bool {
	for pattern, prefix := range map[string]string{"pci/devices/*/class": "0x02", "virtio/devices/*/modalias": "virtio:d00000001"} {
		files, _ := filepath.Glob(filepath.Join(buses, pattern)) // the pattern is a good one
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil || !strings.HasPrefix(string(text), prefix) {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), "driver")); err == nil {
				return true
			}
		}
	}
	return false
}

// configureCard fills in what it finds on the way, also when it fails. Name servers are written to the file resolv.
func configureCard(ctx context.Context, how, resolv string, n *guestreport.Network) error {
	if err := netconf.Up(ctx, "lo"); err != nil {
		return err
	}
	// Before the link is up: a change of queues restarts them.
	if err := useAllQueues(n); err != nil {
		return err
	}
	if err := netconf.Up(ctx, n.Interface); err != nil {
		return err
	}
	var c netconf.Config
	if static, ok := strings.CutPrefix(how, netStatic); ok {
		n.Source = "static"
		var err error
		if c, err = netconf.ParseStatic(static); err != nil {
			return err
		}
	} else {
		n.Source = netDHCP
		lease, err := netconf.DHCP(ctx, n.Interface)
		if err != nil {
			return err
		}
		c = lease.Config
	}
	if err := netconf.Apply(n.Interface, c); err != nil {
		return err
	}
	n.Address = c.Address.String()
	if c.MTU != 0 {
		n.MTU = c.MTU
	}
	if c.Gateway.IsValid() {
		n.Gateway = c.Gateway.String()
	}
	for _, server := range c.DNS {
		n.DNS = append(n.DNS, server.String())
	}
	if len(c.DNS) == 0 && c.Search == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(resolv), 0o755); err != nil {
		return err
	}
	return netconf.WriteResolvConf(resolv, c)
}

// useAllQueues takes a queue pair for each CPU, as far as the card has them. Linux's virtio_net does so by itself; a driver that
// does not is told to.
func useAllQueues(n *guestreport.Network) error {
	nic, err := netconf.OpenNIC(n.Interface)
	if err != nil {
		return err
	}
	defer nic.Close()
	n.Driver, _ = nic.Driver()
	c, err := nic.Channels()
	if err != nil || c.MaxCombined == 0 {
		return nil // a driver without the notion
	}
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	want := min(int(c.MaxCombined), len(cpus))
	if int(c.Combined) != want {
		if err := nic.SetCombined(want); err != nil {
			return err
		}
	}
	n.QueuePairs, n.QueuePairsMax = want, int(c.MaxCombined)
	return nil
}

// networkLine is the line for a person.
func networkLine(n *guestreport.Network) string {
	parts := []string{n.Interface + " " + n.Address}
	if n.Source == netDHCP {
		parts[0] += " by DHCP"
	}
	if n.Gateway != "" {
		parts = append(parts, "gateway "+n.Gateway)
	}
	switch {
	case n.QueuePairsMax == 1:
		parts = append(parts, "1 queue pair")
	case n.QueuePairsMax > 1:
		parts = append(parts, fmt.Sprintf("%d of %d queue pairs", n.QueuePairs, n.QueuePairsMax))
	}
	return "network: " + strings.Join(parts, ", ") + "\n"
}
