package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"doorbell/internal/ioctl"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

// device is a device of the host by its descriptor.
type device struct {
	sysfs.Device
	fd      int
	resets  bool // it has a reset
	regions []region
	irqs    []irqInfo
}

// region is a BAR or the configuration space, at an offset of the device's file.
type region struct {
	flags        uint32
	size, offset uint64
	areas        []area // what can be mapped
}

// area is a piece of a region: [start, start+size).
type area struct{ start, size uint64 }

// openDevice asks a device what it has.
func openDevice(t *Container, d sysfs.Device) (*device, error) {
	fd, err := t.open(d)
	if err != nil {
		return nil, err
	}
	dev := &device{Device: d, fd: fd}
	if err := dev.ask(); err != nil {
		return nil, errors.Join(err, t.space.release(fd), unix.Close(fd))
	}
	return dev, nil
}

func (d *device) ask() error {
	info := deviceInfo{}
	info.Argsz = ioctl.Size(info)
	if _, err := ioctl.Pointer(d.fd, deviceGetInfo, &info); err != nil {
		return failed(deviceGetInfo, err, "%s", d)
	}
	if info.Flags&deviceFlagPCI == 0 || info.NumRegions <= regionConfig {
		return fmt.Errorf("%s: VFIO has it as no PCI device", d)
	}
	d.resets = info.Flags&deviceFlagReset != 0
	for i := range info.NumRegions {
		r, err := d.askRegion(i)
		if err != nil {
			return err
		}
		d.regions = append(d.regions, r)
	}
	for i := range info.NumIRQs {
		q := irqInfo{Index: i}
		q.Argsz = ioctl.Size(q)
		// A device that is no PCI Express device has no errors to report: EINVAL.
		if _, err := ioctl.Pointer(d.fd, getIRQInfo, &q); err != nil && !errors.Is(err, unix.EINVAL) {
			return failed(getIRQInfo, err, "%s index %d", d, i)
		} else if err != nil {
			q.Count = 0
		}
		d.irqs = append(d.irqs, q)
	}
	return nil
}

// askRegion reads a region's place and what of it can be mapped. The kernel says how much room its answer needs.
func (d *device) askRegion(index uint32) (region, error) {
	le := binary.LittleEndian
	for size := uint32(regionInfoSize); ; {
		b := make([]byte, size)
		le.PutUint32(b, size)
		le.PutUint32(b[8:], index)
		_, err := ioctl.Pointer(d.fd, getRegionInfo, &b[0])
		if errors.Is(err, unix.EINVAL) {
			return region{}, nil // a region that this kind of device does not have, such as VGA
		}
		if err != nil {
			return region{}, failed(getRegionInfo, err, "%s region %d", d, index)
		}
		if need := le.Uint32(b); need > size {
			size = need
			continue
		}
		r := region{flags: le.Uint32(b[4:]), size: le.Uint64(b[16:]), offset: le.Uint64(b[24:])}
		if r.flags&regionMmap != 0 {
			r.areas = []area{{0, r.size}}
		}
		if at := le.Uint32(b[12:]); r.flags&regionCaps != 0 && at != 0 {
			if sparse, ok := sparseAreas(b, at); ok {
				r.areas = sparse
			}
		}
		return r, nil
	}
}

// sparseAreas finds the list of areas among a region's capabilities.
func sparseAreas(b []byte, at uint32) (areas []area, ok bool) {
	le := binary.LittleEndian
	for range 16 { // the kernel's chain has no loop; its length is bounded all the same
		if at == 0 || uint64(at)+8 > uint64(len(b)) {
			return nil, false
		}
		c := b[at:]
		if le.Uint16(c) == capSparseMmap && len(c) >= 16 {
			n := le.Uint32(c[8:])
			for i := uint32(0); i < n && len(c) >= int(16+16*(i+1)); i++ {
				areas = append(areas, area{le.Uint64(c[16+16*i:]), le.Uint64(c[24+16*i:])})
			}
			return areas, true
		}
		at = le.Uint32(c[4:])
	}
	return nil, false
}

// irqCount is how many interrupts of a kind it has.
func (d *device) irqCount(index int) int {
	if index >= len(d.irqs) {
		return 0
	}
	return int(d.irqs[index].Count)
}

// read reads from a region; what cannot be read floats.
func (d *device) read(index int, off uint64, p []byte) {
	r := &d.regions[index]
	if n, err := unix.Pread(d.fd, p, int64(r.offset+off)); err != nil || n != len(p) {
		float(p)
	}
}

// float is what a read returns where nobody answers.
func float(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// write writes to a region; what cannot be written is lost, as on a bus.
func (d *device) write(index int, off uint64, p []byte) {
	_, _ = unix.Pwrite(d.fd, p, int64(d.regions[index].offset+off))
}

// setIRQs is VFIO_DEVICE_SET_IRQS with eventfds, or without data if fds is nil.
func (d *device) setIRQs(index int, action uint32, start int, fds []int32) error {
	b := make([]byte, irqSetSize, irqSetSize+4*len(fds))
	le := binary.LittleEndian
	data := uint32(irqDataNone)
	if fds != nil {
		data = irqDataEventFD
	}
	for _, fd := range fds {
		b = le.AppendUint32(b, uint32(fd))
	}
	for i, v := range []uint32{uint32(len(b)), data | action, uint32(index), uint32(start), uint32(len(fds))} {
		le.PutUint32(b[4*i:], v)
	}
	_, err := ioctl.Pointer(d.fd, setIRQs, &b[0])
	return failed(setIRQs, err, "%s %s %d+%d", d.Address, irqName(index), start, len(fds))
}

// irqName names a kind of interrupts in errors.
func irqName(index int) string {
	return [...]string{"INTx", "MSI", "MSI-X", "error", "request"}[index]
}

// leave lets go of the device while others may use its descriptor: from now on it is /dev/null.
func (d *device) leave() error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: open %s: %w", d, os.DevNull, err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, d.fd, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("%s: dup3: %w", d, err)
	}
	return nil
}

// reset returns the device to its state after power-on, if it can.
func (d *device) reset() error {
	if !d.resets {
		return nil
	}
	_, err := ioctl.Value(d.fd, deviceReset, 0)
	return failed(deviceReset, err, "%s", d)
}
