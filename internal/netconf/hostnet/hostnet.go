// Package hostnet is what a host makes for its guests' network cards: tap interfaces, and bridges of these and its own cards.
package hostnet

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddTap makes a tap interface that outlives this process, as "ip tuntap add dev NAME mode tap vnet_hdr" does, multi_queue if several is set. It takes the
// rights of CAP_NET_ADMIN.
func AddTap(name string, several bool) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tap %s: /dev/net/tun: %w", name, err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("tap %s: %w", name, err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if several {
		flags |= unix.IFF_MULTI_QUEUE
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("tap %s: TUNSETIFF: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("tap %s: TUNSETPERSIST: %w", name, err)
	}
	return nil
}

// AddBridge makes a bridge of interfaces, all of which it brings up. The host has no part in it: the bridge has no address, and it answers no ARP for those
// that other interfaces have, so that frames for the host go the way that they would go for another machine.
func AddBridge(name string, ports ...string) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return fmt.Errorf("bridge %s: the kernel has no bridges: modprobe bridge", name)
		}
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	const never = "8" // arp_ignore (Documentation/networking/ip-sysctl.rst)
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/arp_ignore", []byte(never), 0); err != nil {
		return errors.Join(fmt.Errorf("bridge %s: %w", name, err), Remove(name))
	}
	for _, p := range ports {
		if err := enslave(bridge, p); err != nil {
			return errors.Join(fmt.Errorf("bridge %s: %s: %w", name, p, err), Remove(name))
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return errors.Join(fmt.Errorf("bridge %s: bring up: %w", name, err), Remove(name))
	}
	return nil
}

func enslave(bridge netlink.Link, port string) error {
	l, err := netlink.LinkByName(port)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMaster(l, bridge); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Remove deletes an interface that software made.
func Remove(name string) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("%s: delete: %w", name, err)
	}
	return nil
}
