package network

import (
	"fmt"
	"net/netip"

	"doorbell/tests/compare/host"
)

// The machine that every arm gets.
const (
	vcpus     = "2"
	memoryMiB = "512"
	pairs     = 2 // of queues, where the backend has more than one
)

// The wire of the arms on a tap interface.
const tapName = "compare0"

var tapHost = netip.MustParsePrefix("10.77.0.1/24")

// backend is what the card is connected to.
type backend string

const (
	tap  backend = "tap"
	user backend = "user"
)

// arm is a VMM with one kind of network.
type arm struct {
	name    string
	note    string
	backend backend
	qemu    bool
	net     []string // the VMM's flags for its card
}

var arms = []arm{
	{"doorbell tap", "2 queue pairs", tap, false, []string{"--net", fmt.Sprintf("tap=%s,queues=%d", tapName, pairs)}},
	{"QEMU tap", "2 queue pairs, vhost=off", tap, true, []string{
		"-netdev", fmt.Sprintf("tap,id=n0,ifname=%s,queues=%d,vhost=off,script=no,downscript=no", tapName, pairs),
		"-device", fmt.Sprintf("virtio-net-pci,netdev=n0,mq=on,vectors=%d,disable-legacy=on,romfile=", 2*pairs+2)}},
	{"doorbell user", "2 queue pairs", user, false, []string{"--net", fmt.Sprintf("user,queues=%d", pairs)}},
	{"QEMU user", "1 queue pair, all that it has", user, true, []string{
		"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,disable-legacy=on,romfile="}},
}

// controller is the address at which the guest reaches the controller, and the one where that listens.
func (a *arm) controller() (seen, listen netip.Addr) {
	if a.backend == tap {
		return tapHost.Addr(), tapHost.Addr()
	}
	return netip.AddrFrom4([4]byte{10, 0, 2, 2}), netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// command is the VMM's command line for a guest that serves the controller at a port.
func (a *arm) command(s *host.Setup, port uint16) []string {
	seen, _ := a.controller()
	address := "dhcp"
	if a.backend == tap {
		address = fmt.Sprintf("static=%v/%d,%v", tapHost.Addr().Next(), tapHost.Bits(), tapHost.Addr())
	}
	cmdline := fmt.Sprintf("console=ttyS0 quiet panic=-1 doorbell.net=%s doorbell.workload=traffic=%v", address, netip.AddrPortFrom(seen, port))
	if a.qemu {
		return append(s.QEMUCommand(vcpus, memoryMiB, cmdline), a.net...)
	}
	return append(s.DoorbellCommand(vcpus, memoryMiB, cmdline, s.Vmlinux), a.net...)
}
