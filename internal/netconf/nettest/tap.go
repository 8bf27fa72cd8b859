package nettest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"

	"doorbell/internal/netconf/hostnet"
	"doorbell/internal/netconf/netserve"

	"github.com/vishvananda/netlink"
)

// A Tap is the host's end of a wire to a guest: a persistent tap interface, as "ip tuntap add dev NAME mode tap multi_queue vnet_hdr" makes
// it, which is up, has an address, and sends nothing by itself. What the guest is run by attaches to it.
type Tap struct {
	name    string
	address netip.Prefix
	guests  *netserve.Guests
}

// NewTap makes the interface; with one queue it is not multi_queue. It takes the rights of CAP_NET_ADMIN. An interface of the name must not
// exist.
func NewTap(name string, address netip.Prefix, queues int) (*Tap, error) {
	if _, err := netlink.LinkByName(name); err == nil {
		return nil, fmt.Errorf("tap %s: there is an interface of this name", name)
	}
	if err := hostnet.AddTap(name, queues > 1); err != nil {
		return nil, err
	}
	t := &Tap{name: name, address: address}
	err := quietIPv6(name)
	if err == nil {
		err = setUp(name, address)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tap %s: %w", name, err), t.Close())
	}
	return t, nil
}

// setUp brings an interface up, which has no carrier before somebody attaches, and gives it its address.
func setUp(name string, address netip.Prefix) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("bring up: %w", err)
	}
	network := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: network}); err != nil {
		return fmt.Errorf("address %v: %w", address, err)
	}
	return nil
}

// quietIPv6 keeps the host from announcing itself on the wire. A host without IPv6 does not.
func quietIPv6(name string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Name is the interface's.
func (t *Tap) Name() string { return t.name }

// Host is the host's address on the wire, and the gateway and name server that Serve tells of.
func (t *Tap) Host() netip.Addr { return t.address.Addr() }

// Guest is the address that the first guest gets from Serve: the one after the host's.
func (t *Tap) Guest() netip.Addr { return t.Host().Next() }

// Serve starts to answer guests: DHCP, and DNS for netserve.HostName.
func (t *Tap) Serve() (err error) {
	t.guests, err = netserve.ServeGuests(t.name, t.address)
	return err
}

// Delete removes the interface, whoever is attached to it. The servers stay.
func (t *Tap) Delete() error {
	l, err := netlink.LinkByName(t.name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("tap %s: delete: %w", t.name, err)
	}
	return nil
}

// Close ends the servers and removes the interface, if it still exists.
func (t *Tap) Close() error {
	var errs []error
	if t.guests != nil {
		errs = append(errs, t.guests.Close())
	}
	var gone netlink.LinkNotFoundError
	if err := t.Delete(); err != nil && !errors.As(err, &gone) {
		errs = append(errs, err)
	}
	t.guests = nil
	return errors.Join(errs...)
}
