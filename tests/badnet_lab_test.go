//go:build lab

package tests

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"doorbell/internal/netconf"
	"doorbell/internal/netconf/nettest"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestBadNetwork: one line that says what is wrong with --net and what helps.
func TestBadNetwork(t *testing.T) {
	tap := tapLink(t).tap
	// An owner as "ip tuntap add ... user 1234" makes it.
	owned := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: "owned0"}, Mode: netlink.TUNTAP_MODE_TAP, Owner: 1234,
		Flags: netlink.TUNTAP_MULTI_QUEUE_DEFAULTS | netlink.TUNTAP_VNET_HDR,
	}
	if err := netlink.LinkAdd(owned); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(owned) })
	for _, f := range owned.Fds {
		f.Close()
	}
	single, err := nettest.NewTap("single0", tapAddress, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { single.Close() })
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	openTo(t, t.TempDir())
	for _, c := range []struct {
		name   string
		net    string
		as     *syscall.SysProcAttr
		status int
		parts  []string
	}{
		{"no such tap", "tap=nosuch0", nil, 1, []string{"tap nosuch0: no such interface", "ip tuntap add dev nosuch0 mode tap multi_queue"}},
		{"no tap", "tap=lo", nil, 1, []string{"tap lo: a network interface, not a tap"}},
		{"not permitted", "tap=owned0", nobody, 1, []string{"tap owned0: not permitted: it belongs to user 1234", "CAP_NET_ADMIN", "user $USER"}},
		{"no such tap, for a user", "tap=nosuch0", nobody, 1, []string{"no such interface", "multi_queue user $USER"}},
		{"one queue", "tap=single0", nil, 1, []string{"tap single0: it has one queue and 2 are asked for", "queues=1"}},
		{"in use", "tap=" + tap.Name(), nil, 1, []string{"tap tap0: in use by another program"}},
		{"TCP port in use", "user,hostfwd=tcp:" + tcp.Addr().String() + "-:22", nil, 1, []string{"hostfwd tcp port " + tcp.Addr().String(), "in use", "choose another port"}},
		{"UDP port in use", "user,hostfwd=udp:" + udp.LocalAddr().String() + "-:53", nil, 1, []string{"hostfwd udp port " + udp.LocalAddr().String(), "in use"}},
		{"privileged port", "user,hostfwd=tcp::22-:22", nobody, 1, []string{"hostfwd tcp port 127.0.0.1:22", "permission denied", "choose a higher one"}},
		{"somebody's address", "user,hostfwd=tcp:192.0.2.1:2222-:22", nil, 1, []string{"hostfwd tcp port 192.0.2.1:2222", "not one of this host's"}},
		{"no port", "user,hostfwd=tcp:2222", nil, 2, []string{"--net", "hostfwd", "tcp:127.0.0.1:8080-:80"}},
		{"hostfwd of a tap", "tap=tap0,hostfwd=tcp::2222-:22", nil, 2, []string{"--net", "hostfwd is for user"}},
		{"unknown backend", "bridge=br0", nil, 2, []string{"--net", "bridge=br0", "user, tap=NAME or none"}},
		{"unknown option", "user,speed=10", nil, 2, []string{"--net", "speed"}},
		{"too many queues", "user,queues=65", nil, 2, []string{"--net", "queues", "64"}},
		{"a name that is too long", "tap=" + strings.Repeat("x", 16), nil, 1, []string{"16 characters", "15"}},
		{"a group's MAC", "user,mac=01:00:00:00:00:01", nil, 2, []string{"--net", "mac"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "in use" {
				defer hold(t, tap.Name())()
			}
			cmd := command(t, "boot", "--host", "here", "-c", "2", "--net", c.net)
			cmd.SysProcAttr, cmd.Dir = c.as, "/"
			o := runToEnd(t, cmd)
			o.want(t, c.status, o.stderr, c.parts...)
			oneLine(t, o)
		})
	}
	if _, err := netconf.LinkByName("nosuch0"); err == nil {
		t.Error("nosuch0 was made")
	}
}

// hold attaches to a tap as another program would, until the result is called.
func hold(t testing.TB, name string) func() {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { unix.Close(fd) }
}

// runToEnd runs a command of doorbell's.
func runToEnd(t testing.TB, c *exec.Cmd) outcome {
	t.Helper()
	var o, e strings.Builder
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%s", c.Args, err, &e)
	}
	return outcome{o.String(), e.String(), c.ProcessState.ExitCode()}
}

// TestNoIPv6: on a host without IPv6 the card works, and a port of an IPv6 address is refused in one line.
func TestNoIPv6(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // without the opposite: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		for _, which := range []string{"all", "default", "lo"} {
			err = errors.Join(err, os.WriteFile("/proc/thread-self/root/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0))
		}
		if err = errors.Join(err, netconf.SetUp("lo")); err != nil {
			t.Error(err)
			return
		}
		// doorbell inherits this thread's network.
		o := runToEnd(t, command(t, "boot", "--host", "here", "--net", "user,hostfwd=tcp:[::1]:8080-:80"))
		o.want(t, 1, o.stderr, "hostfwd tcp port [::1]:8080", "not one of this host's")
		oneLine(t, o)
		l := userLink()
		o = runToEnd(t, command(t, "boot", "--host", "here", "--net", "user,hostfwd=tcp::8080-:80", "-p", fmt.Sprintf("%sdoorbell.workload=ping=%v,1", quiet, l.host)))
		o.want(t, 0, o.stdout, l.guest.String()+" by DHCP", "1 of 1 answered")
		if strings.Contains(o.stderr, "IPv6") {
			t.Errorf("stderr:\n%s", o.stderr)
		}
	}()
	<-done
}
