//go:build lab

package tests

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/traffic/guest"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// netGuestPath is where this binary is in the guests of the network's tests that need a program of their own; the agent runs it as its
// workload, when the card has an address.
const netGuestPath = "/netguest"

// netGuest plays the part that the kernel command line gives it in test.role=; test.peer= is the traffic controller's HOST:PORT.
func netGuest() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	card, err := netconf.WaitLink(ctx, netconf.Link.Card)
	if err != nil {
		return err
	}
	switch word("test.role=") {
	case "hash":
		if err := expectHashes(card.Name); err != nil {
			return err
		}
		return guest.Serve(ctx, word("test.peer="))
	case "unplugged":
		go guest.Serve(ctx, word("test.peer=")) // it ends without its connection
		return outlive(ctx, card.Name)
	}
	return fmt.Errorf("no role")
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

// expectHashes has an echo server, test.echo=, answer some sockets that take only datagrams for which the card has reported the hash that
// receive-side scaling makes of their addresses and ports.
func expectHashes(card string) error {
	nic, err := netconf.OpenNIC(card)
	if err != nil {
		return err
	}
	defer nic.Close()
	if err := nic.SetRSS(netconf.RSS{Key: hex.EncodeToString(testKey[:])}); err != nil {
		return err
	}
	if err := nic.SetFeatures(map[string]bool{"rxhash": true}); err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp4", word("test.echo="))
	if err != nil {
		return err
	}
	for i := range 8 {
		hash, err := echoWithHash(to)
		if err != nil {
			return fmt.Errorf("datagram %d: %w", i, err)
		}
		fmt.Printf("guest: an echo with hash %#x\n", hash)
	}
	return nil
}

// echoWithHash sends until an answer passes the filter.
func echoWithHash(to *net.UDPAddr) (hash uint32, err error) {
	c, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	hash = hashOf(protocolUDP, addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()))
	if err := takeOnlyHash(c, hash); err != nil {
		return 0, err
	}
	for range 50 {
		if _, err := c.Write([]byte("hello")); err != nil {
			return 0, err
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // datagrams may be lost
		if _, err = c.Read(make([]byte, 10)); err == nil {
			return hash, nil
		}
	}
	return 0, fmt.Errorf("no answer with hash %#x: %w", hash, err)
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.UDPAddr).AddrPort() }

// takeOnlyHash filters what a socket receives by skb->hash, which the kernel does not compute for this.
func takeOnlyHash(c *net.UDPConn, hash uint32) error {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtRXHash},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: hash, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	})
	if err != nil {
		return err
	}
	return failed
}

// outlive waits until the card has lost its carrier, then for a line on the console.
func outlive(ctx context.Context, card string) error {
	if _, err := netconf.WaitLink(ctx, func(l netconf.Link) bool { return l.Name == card && !l.Running }); err != nil {
		return err
	}
	fmt.Println("guest: the card has no carrier")
	var line string
	if _, err := fmt.Scanln(&line); err != nil {
		return err
	}
	fmt.Printf("guest: alive, %s\n", line)
	return nil
}
