package netconf

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A NIC is a card's settings beyond its addresses, by the ethtool ioctls. It is not for concurrent use.
type NIC struct {
	name string
	// ioctl passes a command structure to the kernel, in its own byte order, and returns the ioctl's result.
	ioctl  func(buffer []byte) (int, error)
	socket *os.File // any socket will do; nil in tests
}

// OpenNIC opens the settings of a network interface.
func OpenNIC(name string) (*NIC, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: open settings: %w", name, err)
	}
	socket := os.NewFile(uintptr(fd), "ethtool")
	n := &NIC{name: name, socket: socket}
	n.ioctl = func(buffer []byte) (int, error) {
		defer runtime.KeepAlive(socket) // or the collector may close it
		return ioctlEthtool(int(socket.Fd()), name, buffer)
	}
	return n, nil
}

// Close gives back the socket.
func (n *NIC) Close() error {
	if n.socket == nil {
		return nil
	}
	return n.socket.Close()
}

// order is the kernel's byte order.
var order = binary.NativeEndian

// do runs a command whose structure the buffer is; the command's number is put in front.
func (n *NIC) do(operation string, command uint32, buffer []byte) error {
	_, err := n.call(operation, command, buffer)
	return err
}

func (n *NIC) call(operation string, command uint32, buffer []byte) (int, error) {
	order.PutUint32(buffer, command)
	result, err := n.ioctl(buffer)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", n.name, operation, err)
	}
	return result, nil
}

// get and put are a structure's words of 32 bits, by index.
func get(buffer []byte, word int) uint32    { return order.Uint32(buffer[4*word:]) }
func put(buffer []byte, word int, v uint32) { order.PutUint32(buffer[4*word:], v) }

// load reads consecutive words of a structure into the fields that they are.
func load(buffer []byte, first int, fields ...*uint32) {
	for i, f := range fields {
		*f = get(buffer, first+i)
	}
}

// Driver is the name of the card's driver.
func (n *NIC) Driver() (string, error) {
	const driverOffset, driverLength, size = 4, 32, 196 // struct ethtool_drvinfo
	buffer := make([]byte, size)
	if err := n.do("driver", unix.ETHTOOL_GDRVINFO, buffer); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(buffer[driverOffset : driverOffset+driverLength]), nil
}

// Sets of strings (enum ethtool_stringset).
const (
	setStats    = 1
	setFeatures = 4
	// maxStrings bounds what a driver may say it has; it is beyond any card's.
	maxStrings  = 1 << 16
	stringBytes = 32 // ETH_GSTRING_LEN
)

// strings returns the names in a set, in the order of their values.
func (n *NIC) strings(operation string, set uint32) ([]string, error) {
	// struct ethtool_sset_info: cmd, reserved, a mask of 64 bits, one length for each bit that stays set.
	info := make([]byte, 20)
	order.PutUint64(info[8:], 1<<set)
	if err := n.do(operation, unix.ETHTOOL_GSSET_INFO, info); err != nil {
		return nil, err
	}
	if order.Uint64(info[8:]) == 0 {
		return nil, nil // there is no such set
	}
	count := get(info, 4)
	if count > maxStrings {
		return nil, fmt.Errorf("%s: %s: the driver names %d values", n.name, operation, count)
	}
	// struct ethtool_gstrings: cmd, string_set, len, the strings.
	const header = 12
	buffer := make([]byte, header+int(count)*stringBytes)
	put(buffer, 1, set)
	put(buffer, 2, count)
	if err := n.do(operation, unix.ETHTOOL_GSTRINGS, buffer); err != nil {
		return nil, err
	}
	names := make([]string, min(count, get(buffer, 2)))
	for i := range names {
		at := header + i*stringBytes
		names[i] = unix.ByteSliceToString(buffer[at : at+stringBytes])
	}
	return names, nil
}

// A Stat is one of the driver's own counters (ethtool -S).
type Stat struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// Stats returns the driver's own counters, in its order; none where it has none.
func (n *NIC) Stats() ([]Stat, error) {
	const operation = "statistics"
	names, err := n.strings(operation, setStats)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	// struct ethtool_stats: cmd, n_stats, the values.
	const header = 8
	buffer := make([]byte, header+8*len(names))
	put(buffer, 1, uint32(len(names)))
	if err := n.do(operation, unix.ETHTOOL_GSTATS, buffer); err != nil {
		return nil, err
	}
	stats := make([]Stat, min(len(names), int(get(buffer, 1))))
	for i := range stats {
		stats[i] = Stat{names[i], order.Uint64(buffer[header+8*i:])}
	}
	return stats, nil
}
