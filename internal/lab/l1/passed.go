package l1

import (
	"context"
	"fmt"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/netconf/netserve"
	"doorbell/vfio/sysfs"
)

// PeerAddress is L1's on the network that passed cards are on.
const PeerAddress = "10.0.3.1/24"

// givePassed binds devices to vfio-pci, and brings up the card that talks to them, with servers for the guests that get them.
func givePassed(s Setup) error {
	for _, address := range s.Passed {
		a, err := sysfs.ParseAddress(address)
		if err != nil {
			return err
		}
		if _, err := (sysfs.Host{}).Bind(a); err != nil {
			return fmt.Errorf("bind %w", err)
		}
	}
	if s.PeerMAC == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	link, err := netconf.WaitLink(ctx, func(l netconf.Link) bool { return l.Card() && l.MAC.String() == s.PeerMAC })
	if err != nil {
		return fmt.Errorf("the card beside those passed through: %w", err)
	}
	c, err := netconf.ParseStatic(PeerAddress)
	if err != nil {
		return err
	}
	if err := netconf.Up(ctx, link.Name); err != nil {
		return err
	}
	if err := netconf.Apply(link.Name, c); err != nil {
		return err
	}
	_, err = netserve.ServeGuests(link.Name, c.Address) // until L1's end
	return err
}
