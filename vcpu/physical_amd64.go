package vcpu

import "doorbell/internal/kvm"

// PhysicalBits is the number of bits of a guest-physical address by the table that the guest gets: CPUID leaf 0x80000008, EAX[7:0]; 36 where
// there is no such leaf (Intel SDM volume 3, section 4.1.4).
func PhysicalBits(table []kvm.CPUIDEntry) int {
	for _, e := range table {
		if e.Function == leafAMDSizes {
			if n := int(e.EAX & 0xff); n > 0 {
				return min(n, 52)
			}
		}
	}
	return 36
}
