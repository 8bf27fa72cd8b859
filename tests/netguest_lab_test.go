//go:build lab

package tests

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"doorbell/internal/netconf"

	"golang.org/x/sys/unix"
)

// netGuestPath is where this binary is in the guest that the network tests boot; the agent runs it as its workload.
const netGuestPath = "/netguest"

// netGuest is the guest's half of the network tests. Its words on the kernel command line are test.peer=HOST:PORT and test.bytes=N: it gets
// an address by DHCP, finds the peer's address by its name, and for each of its CPUs sends and receives N bytes over a connection of its own,
// from a thread that stays on that CPU. It prints what it sees, for the test to read.
func netGuest() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	link, err := netconf.WaitLink(ctx, netconf.Link.Card)
	if err != nil {
		return err
	}
	if err := netconf.Up(ctx, link.Name); err != nil {
		return err
	}
	lease, err := netconf.DHCP(ctx, link.Name)
	if err != nil {
		return err
	}
	if err := netconf.Apply(link.Name, lease.Config); err != nil {
		return err
	}
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	if err := netconf.WriteResolvConf("/etc/resolv.conf", lease.Config); err != nil {
		return err
	}
	fmt.Printf("guest: address %v gateway %v\n", lease.Address, lease.Gateway)
	host, port, err := net.SplitHostPort(word("test.peer="))
	if err != nil {
		return err
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return err
	}
	fmt.Printf("guest: %s is %v\n", host, addrs)
	nic, err := netconf.OpenNIC(link.Name)
	if err != nil {
		return err
	}
	defer nic.Close()
	channels, err := nic.Channels()
	if err != nil {
		return err
	}
	fmt.Printf("guest: channels %+v\n", channels)
	var n int64
	if _, err := fmt.Sscan(word("test.bytes="), &n); err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make([]error, runtime.NumCPU())
	for cpu := range errs {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[cpu] = transfer(net.JoinHostPort(addrs[0], port), cpu, n)
		}()
	}
	all.Wait()
	for cpu, err := range errs {
		if err != nil {
			return fmt.Errorf("connection of CPU %d: %w", cpu, err)
		}
	}
	return printVectors()
}

// transfer sends n bytes and their digest's worth of a peer that does the same: see netPeer.
func transfer(peer string, cpu int, n int64) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	c, err := net.Dial("tcp", peer)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "%d %d\n", cpu, n); err != nil {
		return err
	}
	up := sha256.New()
	if _, err := io.Copy(io.MultiWriter(c, up), &pattern{seed: uint64(cpu), left: n}); err != nil {
		return err
	}
	down := sha256.New()
	if got, err := io.Copy(down, io.LimitReader(c, n)); err != nil || got != n {
		return fmt.Errorf("received %d of %d bytes: %w", got, n, err)
	}
	fmt.Printf("guest: CPU %d sent %x received %x\n", cpu, up.Sum(nil), down.Sum(nil))
	_, err = c.Write([]byte("bye"))
	return err
}

// printVectors prints the card's rows of /proc/interrupts and where each may go.
func printVectors() error {
	b, err := os.ReadFile("/proc/interrupts")
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if !strings.Contains(line, "virtio") {
			continue
		}
		irq, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		to, err := os.ReadFile("/proc/irq/" + irq + "/effective_affinity_list")
		if err != nil {
			return err
		}
		fmt.Printf("guest: vector on CPU %s of %s\n", strings.TrimSpace(string(to)), strings.Join(strings.Fields(line), " "))
	}
	return nil
}

// word is the rest of the word of the kernel command line that starts with prefix.
func word(prefix string) string {
	b, _ := os.ReadFile("/proc/cmdline")
	for _, w := range strings.Fields(string(b)) {
		if v, ok := strings.CutPrefix(w, prefix); ok {
			return v
		}
	}
	return ""
}

// pattern is left bytes that differ from seed to seed.
type pattern struct {
	seed uint64
	left int64
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.left)]
	for i := range b {
		p.seed = p.seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.seed >> 56)
	}
	p.left -= int64(len(b))
	return len(b), nil
}
