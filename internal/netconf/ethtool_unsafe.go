package netconf

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqData is struct ifreq with its pointer (netdevice(7)). The field is a pointer for the garbage collector, too.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the union's largest member has 24 bytes
}

// ioctlEthtool gives the kernel a command structure and takes what it wrote there. It returns the ioctl's own result. The buffer
// is pinned: the kernel has its address, not a Go pointer.
func ioctlEthtool(fd int, name string, buffer []byte) (int, error) {
	if len(name) >= unix.IFNAMSIZ {
		return 0, unix.ENODEV
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&buffer[0])
	request := &ifreqData{data: unsafe.Pointer(&buffer[0])}
	copy(request.name[:], name)
	result, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(request)))
	if errno != 0 {
		return 0, errno
	}
	return int(result), nil
}
