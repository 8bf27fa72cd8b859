package images

// kernelMetapackage depends on the newest kernel of the flavour that is made
// for virtual machines: few drivers, most of what a guest needs built in.
const kernelMetapackage = "linux-image-cloud-amd64"

// realtimeMetapackage is the same for PREEMPT_RT: that kernel has all drivers.
const realtimeMetapackage = "linux-image-rt-amd64"

// keptModules are what is kept of the package's modules, with whatever they
// need: hypervisors for a lab host, virtio and its friends for a guest, and
// what passes devices through. One that a kernel does not have, or has built
// in, is left out.
var keptModules = []string{
	"irqbypass", "kvm", "kvm_amd", "kvm_intel", "tun", "tap", "vhost_net", "vhost_vsock",
	"virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_console", "virtio_balloon", "virtio_rng",
	"vmw_vsock_virtio_transport", "af_packet", "bridge", "fuse", "virtiofs", "overlay",
	"pvpanic_mmio", "pvpanic_pci",
	"vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio_pci_core", "vfio_pci", "iommufd", "uio_pci_generic",
}
