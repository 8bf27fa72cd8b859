package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/netconf/hostnet"
	"doorbell/internal/netconf/netserve"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/vfio/sysfs"
	"doorbell/vmm"
)

// The load of `vfio`: bytes of a stream each way for each vCPU, and requests one after the other.
const (
	vfioRounds      = 2
	vfioStreamBytes = 8 << 20
	vfioRequests    = 500
	vfioSegment     = 1448 // bytes that a packet of a stream carries: Ethernet's MTU less IP's and TCP's headers with time stamps
)

// VFIO is the experiment `vfio`: one network card, passed through, and the same card in a bridge with the tap of doorbell's own virtio-net. Each guest
// runs twice, with the load and without, and the difference is the load's. Its other end is this process, by the name host.doorbell on the card's
// network.
func VFIO(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	if len(cfg.VFIO) != 1 {
		return nil, nil, errors.New("measure vfio: which network card? --device vfio=ADDRESS")
	}
	address, err := vmm.ChooseDevice(cfg.VFIO[0])
	if err != nil {
		return nil, nil, err
	}
	cfg.VFIO = []string{address.String()}
	cfg.Net = vmm.NetConfig{}
	doc := &report.Document{Environment: probe.Host()}
	names := []string{"passed through", "virtio-net"}
	rounds := make([][]column, len(names))
	var last *vmm.Result
	order := newRounds(ctx, vfioRounds)
	var gone error // the card, for good
	failures := order.each(ctx, cfg, "vfio", names, func(i int) (err error) {
		if gone != nil {
			return gone
		}
		var c *column
		var res *vmm.Result
		if i == 0 {
			c, res, err = vfioArm(ctx, cfg, names[i])
		} else {
			c, res, err = behindBridge(ctx, cfg, address, names[i])
		}
		if errors.Is(err, errNotBack) {
			gone = err
		}
		if err != nil {
			return err
		}
		rounds[i], last = append(rounds[i], *c), res
		return nil
	})
	if last == nil {
		return nil, nil, cmp.Or(together(failures...), context.Cause(ctx))
	}
	e := report.Experiment{Name: "vfio", Rows: []map[string]any{}, Missing: map[string]string{}, Parameters: order.parameters(), Literature: literaturePosted}
	e.Parameters["device"] = address.String()
	var columns []column
	var bounds []map[string]any
	for i, name := range names {
		if missed(&e, name, failures[i], context.Cause(ctx), len(rounds[i]), order.n) {
			continue
		}
		c, b := columnOf(name, rounds[i])
		columns, bounds = append(columns, c), append(bounds, b)
	}
	vfioExperiment(&e, columns, bounds)
	doc.Experiments = []report.Experiment{e}
	return doc, last, nil
}

// errNotBack is of a card that could not be taken from the host's driver again.
var errNotBack = errors.New("the card did not come back from the host's driver")

// behindBridge is the second arm: the host has the card back for its time.
func behindBridge(ctx context.Context, cfg vmm.Config, address sysfs.Address, name string) (c *column, res *vmm.Result, err error) {
	const bridge, tap = "doorbell-br", "doorbell-tap"
	var host sysfs.Host
	if _, err := host.Unbind(address); err != nil {
		return nil, nil, err
	}
	defer func() {
		if _, back := host.Bind(address); back != nil {
			err = errors.Join(err, fmt.Errorf("%w: %w", errNotBack, back))
		}
	}()
	card, err := cardOf(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	if err := hostnet.AddTap(tap, true); err != nil {
		return nil, nil, err
	}
	defer hostnet.Remove(tap)
	if err := hostnet.AddBridge(bridge, card, tap); err != nil {
		return nil, nil, err
	}
	defer hostnet.Remove(bridge)
	cfg.VFIO = nil
	if cfg.Net, err = vmm.ParseNet("tap=" + tap); err != nil {
		return nil, nil, err
	}
	return vfioArm(ctx, cfg, name)
}

// cardOf is the network interface that the host's driver has made of a device.
func cardOf(ctx context.Context, address sysfs.Address) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dir := filepath.Join("/sys/bus/pci/devices", address.String())
	link, err := netconf.WaitLink(ctx, func(l netconf.Link) bool {
		for _, between := range []string{"", "virtio*"} {
			if found, _ := filepath.Glob(filepath.Join(dir, between, "net", l.Name)); len(found) > 0 {
				return true
			}
		}
		return false
	})
	if err != nil {
		return "", fmt.Errorf("%s is no network card that the host has a driver for: %w", address, err)
	}
	return link.Name, nil
}

// vfioArm runs a guest without the load and with it.
func vfioArm(ctx context.Context, cfg vmm.Config, name string) (*column, *vmm.Result, error) {
	idle, err := runLoaded(ctx, cfg, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s, without the load: %w", name, err)
	}
	c, err := traffic.Listen(":0")
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	cfg.Cmdline += fmt.Sprintf(" doorbell.workload=traffic=%s:%d", netserve.HostName, c.Addr().Port())
	busy, err := runLoaded(ctx, cfg, func(ctx context.Context) error {
		return guestLoad{cfg.VCPUs, vfioStreamBytes, vfioRequests}.run(ctx, c)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s, under the load: %w", name, err)
	}
	return vfioColumn(name, cfg.VCPUs, idle, busy), busy, nil
}

// vfioFigures are the rows of the table.
var vfioFigures = []figure{
	{"packets", "packets of the load"},
	{"card_interrupts", "interrupts of the card"},
	{"exits", "VM exits"},
	{"userspace_exits", "of these, to doorbell"},
	{"exits_per_packet", "exits per packet"},
	{"exits_per_interrupt", "exits per interrupt of the card"},
	{"userspace_exits_per_interrupt", "exits to doorbell per interrupt"},
	{"host_interrupts", "interrupts that the host took from it"},
}

// vfioColumn is what the load caused: the busy guest's counts less the idle one's.
func vfioColumn(name string, vcpus int, idle, busy *vmm.Result) *column {
	c := &column{name: name, figures: map[string]*float64{}}
	packets := float64(2*vcpus)*vfioStreamBytes/vfioSegment + 2*vfioRequests
	c.set("packets", packets)
	interrupts := cardInterrupts(busy) - cardInterrupts(idle)
	c.set("card_interrupts", interrupts)
	user := float64(userspaceExits(busy)) - float64(userspaceExits(idle))
	c.set("userspace_exits", user)
	if interrupts > 0 {
		c.set("userspace_exits_per_interrupt", user/interrupts)
	}
	if a, b := busy.Account.ExitsTotal, idle.Account.ExitsTotal; a != nil && b != nil {
		exits := float64(*a) - float64(*b)
		c.set("exits", exits)
		c.set("exits_per_packet", exits/packets)
		if interrupts > 0 {
			c.set("exits_per_interrupt", exits/interrupts)
		}
	}
	for reason, n := range busy.Account.ExitsByReason {
		c.set("exits_"+reason, float64(n-idle.Account.ExitsByReason[reason]))
	}
	if len(busy.Account.VFIO) > 0 {
		c.set("host_interrupts", float64(busy.Account.VFIO[0].Fired())-float64(idle.Account.VFIO[0].Fired()))
	}
	return c
}

// cardInterrupts adds up the guest's rows of messages, which only its network card sends.
func cardInterrupts(r *vmm.Result) (n float64) {
	if r.Agent == nil {
		return 0
	}
	for _, row := range r.Agent.After.Interrupts.Rows {
		if strings.Contains(row.Chip, "PCI-MSI") {
			n += float64(row.Total)
		}
	}
	return n
}

// vfioExperiment puts the columns side by side; bounds are of their rounds.
func vfioExperiment(e *report.Experiment, columns []column, bounds []map[string]any) {
	e.Table = sideBySide(columns, vfioFigures)
	e.Plots = []*report.Plot{columnsPlot("exits per packet", columns, "exits_per_packet")}
	var parts []string
	for i, c := range columns {
		row := c.row("arm", vfioFigures)
		maps.Copy(row, bounds[i])
		e.Rows = append(e.Rows, row)
		if p, i := c.figures["exits_per_packet"], c.figures["userspace_exits_per_interrupt"]; p != nil && i != nil {
			parts = append(parts, fmt.Sprintf("%s, a packet cost %.3f exits and an interrupt %.2f exits to doorbell", c.name, *p, *i))
		}
	}
	e.Finding = strings.Join(parts, "; ")
}
