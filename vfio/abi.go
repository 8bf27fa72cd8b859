package vfio

import "doorbell/internal/ioctl"

// Requests of linux/vfio.h: _IO(';', 100 + n).
var (
	getAPIVersion  = ioctl.Request{Number: 0x3b64, Name: "VFIO_GET_API_VERSION"}
	checkExtension = ioctl.Request{Number: 0x3b65, Name: "VFIO_CHECK_EXTENSION"}
	setIOMMU       = ioctl.Request{Number: 0x3b66, Name: "VFIO_SET_IOMMU"}
	groupGetStatus = ioctl.Request{Number: 0x3b67, Name: "VFIO_GROUP_GET_STATUS"}
	groupSetCont   = ioctl.Request{Number: 0x3b68, Name: "VFIO_GROUP_SET_CONTAINER"}
	groupGetDevice = ioctl.Request{Number: 0x3b6a, Name: "VFIO_GROUP_GET_DEVICE_FD"}
	deviceGetInfo  = ioctl.Request{Number: 0x3b6b, Name: "VFIO_DEVICE_GET_INFO"}
	getRegionInfo  = ioctl.Request{Number: 0x3b6c, Name: "VFIO_DEVICE_GET_REGION_INFO"}
	getIRQInfo     = ioctl.Request{Number: 0x3b6d, Name: "VFIO_DEVICE_GET_IRQ_INFO"}
	setIRQs        = ioctl.Request{Number: 0x3b6e, Name: "VFIO_DEVICE_SET_IRQS"}
	deviceReset    = ioctl.Request{Number: 0x3b6f, Name: "VFIO_DEVICE_RESET"}
	mapDMA         = ioctl.Request{Number: 0x3b71, Name: "VFIO_IOMMU_MAP_DMA"}
	deviceBind     = ioctl.Request{Number: 0x3b76, Name: "VFIO_DEVICE_BIND_IOMMUFD"}
	deviceAttach   = ioctl.Request{Number: 0x3b77, Name: "VFIO_DEVICE_ATTACH_IOMMUFD_PT"}
)

// Requests of linux/iommufd.h: _IO(';', 0x80 + n).
var (
	ioasAllocate = ioctl.Request{Number: 0x3b81, Name: "IOMMU_IOAS_ALLOC"}
	ioasMapRange = ioctl.Request{Number: 0x3b85, Name: "IOMMU_IOAS_MAP"}
)

// ioasAlloc is struct iommu_ioas_alloc.
type ioasAlloc struct{ Size, Flags, ID uint32 }

// ioasMap is struct iommu_ioas_map.
type ioasMap struct {
	Size, Flags, IOAS, _ uint32
	UserVA, Length, IOVA uint64
}

// Flags of an ioasMap.
const (
	ioasFixedIOVA = 1 << 0 // IOMMU_IOAS_MAP_FIXED_IOVA
	ioasWriteable = 1 << 1 // IOMMU_IOAS_MAP_WRITEABLE
	ioasReadable  = 1 << 2 // IOMMU_IOAS_MAP_READABLE
)

// bindIOMMUFD is struct vfio_device_bind_iommufd.
type bindIOMMUFD struct {
	Argsz, Flags uint32
	FD           int32
	DeviceID     uint32
}

// attachIOMMUFD is struct vfio_device_attach_iommufd_pt, before a process address space had an identifier in it.
type attachIOMMUFD struct{ Argsz, Flags, ID uint32 }

const (
	apiVersion   = 0 // VFIO_API_VERSION
	type1v2IOMMU = 3 // VFIO_TYPE1v2_IOMMU

	groupViable = 1 << 0 // VFIO_GROUP_FLAGS_VIABLE

	deviceFlagReset = 1 << 0 // VFIO_DEVICE_FLAGS_RESET
	deviceFlagPCI   = 1 << 1 // VFIO_DEVICE_FLAGS_PCI

	dmaRead, dmaWrite = 1 << 0, 1 << 1 // VFIO_DMA_MAP_FLAG_*
)

// groupStatus is struct vfio_group_status.
type groupStatus struct{ Argsz, Flags uint32 }

// deviceInfo is struct vfio_device_info without its capabilities.
type deviceInfo struct{ Argsz, Flags, NumRegions, NumIRQs uint32 }

// Regions of a PCI device (enum VFIO_PCI_BAR0_REGION_INDEX and following). BARs are 0 to 5.
const regionConfig = 7

// Flags of a region.
const (
	regionMmap = 1 << 2 // VFIO_REGION_INFO_FLAG_MMAP
	regionCaps = 1 << 3 // VFIO_REGION_INFO_FLAG_CAPS
)

// regionInfoSize is that of struct vfio_region_info, which capabilities may follow.
const regionInfoSize = 32

// capSparseMmap is the capability that lists what of a region can be mapped (struct vfio_region_info_cap_sparse_mmap).
const capSparseMmap = 1

// Interrupts of a PCI device (enum VFIO_PCI_INTX_IRQ_INDEX and following).
const (
	irqINTx = iota
	irqMSI
	irqMSIX
	irqError
	irqRequest
)

// irqInfo is struct vfio_irq_info.
type irqInfo struct{ Argsz, Flags, Index, Count uint32 }

// irqNoResize says that an index can only be enlarged by starting again (VFIO_IRQ_INFO_NORESIZE).
const irqNoResize = 1 << 3

// irqSetSize is that of struct vfio_irq_set, which data follow.
const irqSetSize = 20

// Flags of VFIO_DEVICE_SET_IRQS: what the data are, and what is done with them.
const (
	irqDataNone      = 1 << 0
	irqDataEventFD   = 1 << 2
	irqActionUnmask  = 1 << 4
	irqActionTrigger = 1 << 5
)

// dmaMap is struct vfio_iommu_type1_dma_map.
type dmaMap struct {
	Argsz, Flags      uint32
	VAddr, IOVA, Size uint64
}
