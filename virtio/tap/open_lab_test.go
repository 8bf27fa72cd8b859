//go:build lab

package tap

import (
	"errors"
	"os"
	"strings"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// refused opens a tap that must not open, and compares the line.
func refused(t *testing.T, c Config, is error, want string) {
	t.Helper()
	before := descriptors(t)
	b, err := Open(c)
	if err == nil {
		b.Close()
		t.Errorf("%+v opens", c)
		return
	}
	if err.Error() != want || !errors.Is(err, is) {
		t.Errorf("%s\nwant %s", err, want)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%+v: %d descriptors, %d before", c, after, before)
	}
}

func TestRefused(t *testing.T) {
	newTap(t, "single", 0)
	newTap(t, "multi", unix.IFF_MULTI_QUEUE)
	makeInterface(t, "tunnel", unix.IFF_TUN)
	refused(t, Config{Name: "tap7"}, unix.ENODEV, "tap tap7: no such interface; make it with: ip tuntap add dev tap7 mode tap multi_queue")
	refused(t, Config{Name: "tap%d"}, unix.ENODEV, "tap tap%d: no such interface; make it with: ip tuntap add dev tap%d mode tap multi_queue")
	for _, name := range []string{"tap7", "tap0"} {
		if _, err := ask(t).named(name); !errors.Is(err, unix.ENODEV) {
			t.Errorf("%s was made: %v", name, err)
		}
	}
	refused(t, Config{Name: "lo"}, unix.EINVAL, "tap lo: a network interface, not a tap; choose another name and make it with: ip tuntap add dev NAME mode tap multi_queue")
	refused(t, Config{Name: "tunnel"}, unix.EINVAL, "tap tunnel: a tun interface, which carries no Ethernet frames; make a tap with: ip tuntap add dev NAME mode tap multi_queue")
	refused(t, Config{Name: "single", Queues: 2}, unix.EINVAL, "tap single: it has one queue and 2 are asked for; use queues=1, or make it again with: "+
		"ip tuntap del dev single mode tap; ip tuntap add dev single mode tap multi_queue")

	const inUse = "in use by another program; end that, or give this machine a tap of its own"
	for _, name := range []string{"single", "multi"} {
		b := open(t, name, 1)
		refused(t, Config{Name: name}, unix.EBUSY, "tap "+name+": "+inUse)
		if b.Queues() != 1 || b.String() != "tap="+name {
			t.Errorf("%v has %d queues", b, b.Queues())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		open(t, name, 1).Close()
	}
	b := open(t, "multi", 4)
	refused(t, Config{Name: "multi", Queues: 4}, unix.EBUSY, "tap multi: "+inUse) // three of the four are detached
	b.Close()
	open(t, "multi", maxQueues).Close()
}

// What this process may do is taken from one thread of it.
func TestNotPermitted(t *testing.T) {
	newTap(t, "owned", unix.IFF_MULTI_QUEUE)
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(setIff(fd, "owned", unix.IFF_TAP|unix.IFF_MULTI_QUEUE), unix.IoctlSetInt(fd, unix.TUNSETOWNER, 1234)); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	onThread(func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		refused(t, Config{Name: "owned"}, unix.EPERM, "tap owned: not permitted: it belongs to user 1234; run with CAP_NET_ADMIN, or make it again with: "+
			"ip tuntap del dev owned mode tap; ip tuntap add dev owned mode tap multi_queue user $USER")
	})
	open(t, "owned", 2).Close()
}

func TestNoDevice(t *testing.T) {
	newTap(t, "single", 0)
	onThread(func() {
		// An empty folder in the place of /dev/net, for this thread.
		if err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("none", "/dev/net", "tmpfs", 0, "")); err != nil {
			t.Error(err)
			return
		}
		refused(t, Config{Name: "single"}, unix.ENOENT, "tap single: /dev/net/tun: no such file or directory; load the kernel's driver with: modprobe tun")
		if err := os.WriteFile(device, nil, 0o600); err != nil {
			t.Error(err)
			return
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData // no capability that overrides file permissions
		if err := errors.Join(os.Chown(device, 1234, 1234), unix.Capset(&header, &data[0])); err != nil {
			t.Error(err)
			return
		}
		refused(t, Config{Name: "single"}, unix.EACCES, "tap single: /dev/net/tun: permission denied; let every user open it, as is usual, with: chmod 666 /dev/net/tun")
	})
}

func TestNoDescriptors(t *testing.T) {
	newTap(t, "multi", unix.IFF_MULTI_QUEUE)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := unix.Rlimit{Cur: uint64(descriptors(t)) + 8, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Name: "multi", Queues: 30})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err == nil || err.Error() != "tap multi: /dev/net/tun: too many open files; allow 30 more with: ulimit -n" {
		t.Errorf("%v", err)
	}
	open(t, "multi", 30).Close()
}

func TestState(t *testing.T) {
	l := makeInterface(t, "tap0", unix.IFF_TAP|unix.IFF_MULTI_QUEUE)
	b := open(t, "tap0", 1)
	if w := b.Warning(); w != "tap tap0: the interface is down and loses every frame until: ip link set tap0 up" {
		t.Errorf("down: %q", w)
	}
	b.Queue(0).Transmit(withHeader(backend.Header{}, udpFrame(9, nil, false)))
	if d := b.Queue(0).Counters().Drops(); d.Load(backend.DropHost) != 1 || d.Total() != 1 {
		t.Errorf("down: drops %v", d.ByReason())
	}
	setUp(t, l.index)
	if w := b.Warning(); w != "" {
		t.Errorf("up: %q", w)
	}
	mtu := attribute(unix.IFLA_MTU, []byte{0xe1, 0x10, 0, 0})
	if _, err := ask(t).request(unix.RTM_NEWLINK, unix.NLM_F_ACK, append(linkMessage(l.index, 0), mtu...)); err != nil {
		t.Fatal(err)
	}
	if b.MTU() != 4321 {
		t.Errorf("the MTU is %d", b.MTU())
	}
	onThread(func() { // which has another network than the tap
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
		if b.MTU() != 4321 || b.Warning() != "" {
			t.Errorf("from another network: MTU %d, %q", b.MTU(), b.Warning())
		}
	})
	b.Close()
	if b.MTU() != 0 || b.Warning() != "" || b.Queue(0).FD() != -1 {
		t.Errorf("closed: MTU %d, %q, descriptor %d", b.MTU(), b.Warning(), b.Queue(0).FD())
	}
	if err := b.SetActive(1); err == nil || !strings.HasSuffix(err.Error(), "the tap is closed") {
		t.Errorf("closed: %v", err)
	}
}
