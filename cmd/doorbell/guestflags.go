package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"doorbell/guest"
	"doorbell/guest/memory"
	"doorbell/images"
	"doorbell/vmm"

	"github.com/spf13/pflag"
)

// guestFlags describe a guest; boot and measure share them.
type guestFlags struct {
	kernel, initrd, cmdline string
	cmdlineGiven            bool // -p was there, perhaps empty
	memory                  string
	vcpus                   int
	irqchip                 string
	net                     string
	host                    string
	reports                 []string
	verbose                 bool
	testdev, vectors        bool
	devices                 []string
	unsafeInterrupts        bool
	bare                    bool // the kernel is a Multiboot image, which wants nothing of the default guest's

	// What check makes of them: the machine without what it boots, and the kernel of -k debian:SUITE.
	machine vmm.Config
	release *images.Release // nil without -k debian:
}

// noInitrd as the argument of -i boots without one.
const noInitrd = "none"

func (g *guestFlags) add(f *pflag.FlagSet) {
	f.StringVarP(&g.kernel, "kernel", "k", "", "kernel: a bzImage, an ELF vmlinux or a Multiboot image, or debian:SUITE for another release's, as in debian:trixie,\nor debian:rt for PREEMPT_RT; debian:irqprobe adds a driver for --device irqprobe (default: Debian's cloud kernel, downloaded once)")
	f.StringVarP(&g.initrd, "initrd", "i", "", "initramfs, or none (default: doorbell's agent)")
	f.StringVarP(&g.cmdline, "cmdline", "p", "", "kernel command line (default: the default guest's)")
	f.StringVarP(&g.memory, "memory", "m", "512M", "guest memory, with K, M, G or T")
	f.IntVarP(&g.vcpus, "cpus", "c", 2, "number of vCPUs")
	f.StringVar(&g.irqchip, "irqchip", "kernel", "interrupt controllers: kernel (all in KVM), split (local APICs in KVM) or user (none in KVM)")
	f.StringVar(&g.net, "net", "user", "network card: user, tap=NAME or none, with ,queues=N ,io=poll|block|spin ,mac=ADDR\n,off=FEATURE+FEATURE (virtio's, as in off=ring_packed+event_idx) and, for user, ,hostfwd=tcp:[ADDR]:PORT-[ADDR]:PORT")
	f.StringArrayVar(&g.devices, "device", nil, "a device of the host to pass through, as vfio=0000:00:04.0, or vfio=auto for the only one bound to vfio-pci;\nor irqprobe, which interrupts when its driver tells it to")
	f.BoolVar(&g.unsafeInterrupts, "unsafe-interrupts", false, "pass devices through on a host without interrupt remapping: the guest can then send it any interrupt")
	f.StringVar(&g.host, "host", "auto", "where to run: auto, here, or on an emulated host: tcg (AMD, by QEMU) or bochs (Intel with posted interrupts, slow)")
	f.StringArrayVar(&g.reports, "report", nil, "text, json, html or none, each with =FILE if wanted; several separated by commas")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "say what is done")
}

// anyHost stands for a host's limit of vCPUs where it is not known yet.
const anyHost = 1 << 20

// check finds what is wrong with the flags before anything is downloaded or started, here or in the lab.
func (g *guestFlags) check() error {
	switch g.host {
	case hostAuto, hostHere, hostTCG, hostBochs:
	default:
		return usageError("--host %q: there is auto, here, tcg and bochs", g.host)
	}
	size, err := parseSize(g.memory)
	if err != nil {
		return usageError("-m %s: %v", g.memory, err)
	}
	card, err := vmm.ParseNet(g.net)
	if err != nil {
		return err
	}
	g.machine = vmm.Config{Cmdline: g.cmdline, Memory: size, VCPUs: g.vcpus, IRQChip: g.irqchip, Net: card, TestDev: g.testdev, Vectors: g.vectors}
	for _, d := range g.devices {
		if d == vmm.IRQProbe {
			g.machine.IRQProbe = true
			continue
		}
		name, err := vmm.ParseDevice(d)
		if err != nil {
			return err
		}
		g.machine.VFIO = append(g.machine.VFIO, name)
	}
	g.machine.UnsafeInterrupts = g.unsafeInterrupts
	c := g.machine
	c.Kernel = cmp.Or(g.kernel, "default")
	if err := c.Validate(anyHost); err != nil {
		return err
	}
	switch release, ok, err := images.ParseRelease(g.kernel); {
	case err != nil:
		return usageError("-k: %v", err)
	case ok:
		g.release = &release
	}
	if g.kernel != "" && g.release == nil {
		if _, err := regularFile("-k", g.kernel); err != nil {
			return err
		}
		if g.bare, err = guest.Recognise(g.kernel); err != nil {
			return err
		}
	}
	if g.initrd != "" && g.initrd != noInitrd {
		n, err := regularFile("-i", g.initrd)
		if err != nil {
			return err
		}
		if uint64(n) > size {
			return fmt.Errorf("initrd %s (%s) does not fit in %s of guest memory", g.initrd, memory.FormatSize(uint64(n)), memory.FormatSize(size))
		}
	}
	return nil
}

// regularFile is the size of a file that can be read, or a usage error that names the flag.
func regularFile(flag, path string) (int64, error) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() { // opening a pipe would wait for its writer
		err = errors.New("is no regular file")
		if st.IsDir() {
			err = errors.New("is a directory")
		}
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			f.Close()
			return st.Size(), nil
		}
	}
	return 0, usageError("%s %s: %v", flag, path, pathReason(err))
}

// config makes the machine's configuration, fetching or building what the flags leave to the default guest or to a release's. check has passed.
func (g *guestFlags) config(ctx context.Context) (vmm.Config, error) {
	c := g.machine
	c.Kernel, c.Initrd = g.kernel, g.initrd
	d := images.Guest{Cmdline: images.DefaultCmdline}
	var err error
	switch {
	case g.release != nil:
		if d, err = images.GuestOf(ctx, *g.release, os.Stderr); err != nil {
			return c, fmt.Errorf("-k %s: %w", g.kernel, err)
		}
		c.Kernel = d.Kernel
	case g.needsDefault():
		if d, err = images.DefaultGuest(ctx, os.Stderr); err != nil {
			return c, fmt.Errorf("the default guest: %w", err)
		}
	}
	c.Kernel = cmp.Or(c.Kernel, d.Kernel)
	if !g.bare {
		c.Initrd = cmp.Or(c.Initrd, d.Initrd)
		if !g.cmdlineGiven {
			c.Cmdline = d.Cmdline
		}
	}
	if c.Initrd == noInitrd {
		c.Initrd = ""
	}
	c.Warn = say
	if g.verbose {
		c.Log = say
	}
	return c, nil
}

// parseSize reads "512M", "2G" or a number of bytes.
func parseSize(s string) (uint64, error) {
	t := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 0
	if n := len(t); n > 0 {
		if i := strings.IndexByte("KMGT", t[n-1]); i >= 0 {
			shift, t = 10*(i+1), t[:n-1]
		}
	}
	v, err := strconv.ParseUint(t, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("not a size: write a number with K, M, G or T, as in 512M")
	}
	if v == 0 {
		return 0, fmt.Errorf("a guest needs memory")
	}
	if v<<shift>>shift != v {
		return 0, fmt.Errorf("more than a guest can address")
	}
	return v << shift, nil
}
