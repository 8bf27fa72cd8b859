package netconf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// A Link is a network interface as the kernel describes it.
type Link struct {
	Name  string
	Index int
	MAC   net.HardwareAddr
	MTU   int
	// Kind is "device" for hardware, otherwise what made it: "veth", "tun".
	Kind string
	// Ethernet says that frames have Ethernet's header.
	Ethernet bool
	Loopback bool
	// Running says that it is up and has a carrier.
	Running    bool
	Statistics Statistics
}

// Statistics are what the kernel counted on a link.
type Statistics struct {
	RxPackets uint64 `json:"rx_packets"`
	TxPackets uint64 `json:"tx_packets"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxBytes   uint64 `json:"tx_bytes"`
	RxErrors  uint64 `json:"rx_errors"`
	TxErrors  uint64 `json:"tx_errors"`
	RxDropped uint64 `json:"rx_dropped"`
	TxDropped uint64 `json:"tx_dropped"`
	Multicast uint64 `json:"multicast"`
}

// Card says whether the link is an Ethernet card, real or emulated, rather than something that software made.
func (l Link) Card() bool { return l.Kind == "device" && l.Ethernet && !l.Loopback }

// Links returns all network interfaces of this network namespace by index.
func Links() ([]Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	links := make([]Link, len(all))
	for i, l := range all {
		links[i] = describe(l)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links, nil
}

// LinkByName returns one network interface.
func LinkByName(name string) (Link, error) {
	l, err := byName(name)
	if err != nil {
		return Link{}, err
	}
	return describe(l), nil
}

func byName(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("network interface %.16q: %w", name, err)
	}
	return l, nil
}

func describe(l netlink.Link) Link {
	a := l.Attrs()
	link := Link{
		Name: a.Name, Index: a.Index, MAC: a.HardwareAddr, MTU: a.MTU, Kind: l.Type(),
		Ethernet: a.EncapType == "ether",
		Loopback: a.Flags&net.FlagLoopback != 0,
		Running:  a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperDown && a.OperState != netlink.OperLowerLayerDown && a.Flags&net.FlagRunning != 0,
	}
	if s := a.Statistics; s != nil {
		link.Statistics = Statistics{
			RxPackets: s.RxPackets, TxPackets: s.TxPackets, RxBytes: s.RxBytes, TxBytes: s.TxBytes,
			RxErrors: s.RxErrors, TxErrors: s.TxErrors, RxDropped: s.RxDropped, TxDropped: s.TxDropped, Multicast: s.Multicast,
		}
	}
	return link
}

// ErrNoLink is why WaitLink ends without one.
var ErrNoLink = errors.New("no such network interface appeared")

// waitPause is the time between two looks: a card is there within some of them, or never.
const waitPause = 10 * time.Millisecond

// WaitLink waits for an interface that is as wanted.
func WaitLink(ctx context.Context, wanted func(Link) bool) (Link, error) {
	for {
		links, err := Links()
		if err != nil {
			return Link{}, err
		}
		if i := slices.IndexFunc(links, wanted); i >= 0 {
			return links[i], nil
		}
		if err := pause(ctx, waitPause); err != nil {
			return Link{}, fmt.Errorf("%w: %w", ErrNoLink, err)
		}
	}
}

// SetUp brings a link up without waiting for anything: a tap has no carrier before somebody has it open.
func SetUp(name string) error {
	l, err := byName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("%s: bring up: %w", name, err)
	}
	return nil
}

// Up brings a link up and waits until it can carry frames.
func Up(ctx context.Context, name string) error {
	if err := SetUp(name); err != nil {
		return err
	}
	_, err := WaitLink(ctx, func(l Link) bool { return l.Name == name && l.Running })
	if errors.Is(err, ErrNoLink) {
		return fmt.Errorf("%s: no carrier: %w", name, ctx.Err())
	}
	return err
}

// SetMTU changes how many bytes an IP packet on the link may have.
func SetMTU(name string, mtu int) error {
	l, err := byName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("%s: set MTU %d: %w", name, mtu, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
