package sysfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stateDir remembers, until the host reboots, what drove a device before it was bound.
const stateDir = "run/doorbell/driver"

// ErrNoVFIO is the cause when vfio-pci is not there to take a device.
var ErrNoVFIO = errors.New("the kernel has no vfio-pci driver: modprobe vfio-pci")

// Bind moves a device to vfio-pci and returns the driver that it was taken from, "" for none. A device that vfio-pci has already stays.
// After an error the device is back with its driver.
func (h Host) Bind(a Address) (was string, err error) {
	d, err := h.Device(a)
	if err != nil {
		return "", err
	}
	switch {
	case d.Driver == VFIODriver:
		return h.DriverWas(a), nil
	case d.Bridge():
		return "", fmt.Errorf("%s is a bridge of the host, driven by %s: it cannot be passed through", d, cmp.Or(d.Driver, "nothing"))
	case d.Group == noGroup:
		return "", fmt.Errorf("%s: %w", d, h.noIOMMU())
	}
	if _, err := os.Stat(h.path("sys/bus/pci/drivers", VFIODriver)); err != nil {
		return "", fmt.Errorf("%s: %w", d, ErrNoVFIO)
	}
	if err := h.take(d); err != nil {
		_ = h.write(a, "driver_override", "\n")
		_ = h.probe(a)
		return "", err
	}
	h.remember(a, d.Driver)
	return d.Driver, nil
}

// take has vfio-pci take a device from its driver.
func (h Host) take(d Device) error {
	a := d.Address
	if err := h.write(a, "driver_override", VFIODriver); err != nil {
		return err
	}
	if d.Driver != "" {
		if err := h.write(a, "driver/unbind", a.String()); err != nil {
			return err
		}
	}
	if err := h.probe(a); err != nil {
		return err
	}
	now, err := h.Device(a)
	if err == nil && now.Driver != VFIODriver {
		err = fmt.Errorf("%s: vfio-pci does not take it (the kernel's log says why)", d)
	}
	return err
}

// Unbind gives a device back to the host, and returns the driver that has taken it, "" for none.
func (h Host) Unbind(a Address) (now string, err error) {
	d, err := h.Device(a)
	if err != nil {
		return "", err
	}
	if d.Driver != VFIODriver {
		return d.Driver, fmt.Errorf("%s is not bound to vfio-pci, but to %s", d, cmp.Or(d.Driver, "no driver"))
	}
	// An empty line takes the override off (sysfs-bus-pci).
	if err := errors.Join(h.write(a, "driver_override", "\n"), h.write(a, "driver/unbind", a.String()), h.probe(a)); err != nil {
		return "", err
	}
	h.forget(a)
	d, err = h.Device(a)
	return d.Driver, err
}

// DriverWas is the driver that Bind took a device from, "" if it is not known.
func (h Host) DriverWas(a Address) string {
	text, err := os.ReadFile(h.path(stateDir, a.String()))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// remember is for DriverWas only: a host whose /run cannot be written is none the worse.
func (h Host) remember(a Address, driver string) {
	_ = os.MkdirAll(h.path(stateDir), 0o755)
	_ = os.WriteFile(h.path(stateDir, a.String()), []byte(driver+"\n"), 0o644)
}

func (h Host) forget(a Address) { _ = os.Remove(h.path(stateDir, a.String())) }

// probe has the kernel find a driver for a device.
func (h Host) probe(a Address) error {
	return writeFile(h.path("sys/bus/pci/drivers_probe"), a.String())
}

func (h Host) write(a Address, file, text string) error {
	return writeFile(h.path(devicesDir, a.String(), file), text)
}

// writeFile writes to a file of sysfs, which exists. Its error names the file and what to do about a missing permission.
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("write %s: permission denied: moving a device to another driver needs root", path)
	case errors.As(err, &pe):
		return fmt.Errorf("write %s to %s/%s: %w", strings.TrimSpace(text), filepath.Base(filepath.Dir(path)), filepath.Base(path), pe.Err)
	}
	return err
}

// noIOMMU is why a device has no group.
func (h Host) noIOMMU() error {
	if h.HasIOMMU() {
		return errors.New("the host's IOMMU does not cover it")
	}
	return ErrNoIOMMU
}
