package backend

import "strings"

// Offloads is a set of the work that one side may leave to the other.
type Offloads uint32

// The offloads, each with the features of the driver's and of the device's direction (virtio 1.2, 5.1.3).
const (
	Checksum Offloads = 1 << iota // VIRTIO_NET_F_CSUM, GUEST_CSUM: the header says where a checksum belongs
	TSO4                          // HOST_TSO4, GUEST_TSO4
	TSO6                          // HOST_TSO6, GUEST_TSO6
	ECN                           // HOST_ECN, GUEST_ECN
	USO                           // HOST_USO; GUEST_USO4 and GUEST_USO6
)

var offloadNames = []string{"csum", "tso4", "tso6", "ecn", "uso"}

// String lists the set, for reports.
func (o Offloads) String() string {
	var s []string
	for i, name := range offloadNames {
		if o&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, "+")
}

// Consistent drops the offloads that need another which is not in the set: segmentation needs checksums, ECN needs TSO.
func (o Offloads) Consistent() Offloads {
	if o&Checksum == 0 {
		return 0
	}
	if o&(TSO4|TSO6) == 0 {
		o &^= ECN
	}
	return o
}
