package main

import (
	"cmp"
	"fmt"

	"doorbell/vfio/sysfs"

	"github.com/spf13/cobra"
)

func bindCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bind ADDRESS ...",
		Short: "Move PCI devices from their drivers to vfio-pci, so that a guest can have them",
		Long: `bind takes each device from the driver that it names, and gives it to vfio-pci. The host has no use of it until doorbell unbind,
or a reboot, gives it back. A device that cannot be bound stays with its driver.`,
		Example: `  doorbell bind 0000:00:04.0
  doorbell boot --net none --device vfio=0000:00:04.0
  doorbell unbind 0000:00:04.0`,
		Args: someAddresses,
		RunE: func(_ *cobra.Command, args []string) error {
			return eachDevice(args, func(h sysfs.Host, before sysfs.Device) error {
				if before.Driver == sysfs.VFIODriver {
					fmt.Printf("%s: vfio-pci has it already\n", before)
					return nil
				}
				was, err := h.Bind(before.Address)
				if err != nil {
					return err
				}
				fmt.Printf("%s: taken from %s, bound to vfio-pci\n", before, cmp.Or(was, "no driver"))
				return nil
			})
		},
	}
}

func unbindCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "unbind ADDRESS ...",
		Short:   "Give PCI devices back from vfio-pci to the host's drivers",
		Example: `  doorbell unbind 0000:00:04.0`,
		Args:    someAddresses,
		RunE: func(_ *cobra.Command, args []string) error {
			return eachDevice(args, func(h sysfs.Host, before sysfs.Device) error {
				now, err := h.Unbind(before.Address)
				if err != nil {
					return err
				}
				if now == "" {
					fmt.Printf("%s: taken from vfio-pci; no driver of the host wants it\n", before)
					return nil
				}
				fmt.Printf("%s: given back to %s\n", before, now)
				return nil
			})
		},
	}
}

func someAddresses(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError("%s: which device? %s 0000:00:04.0", cmd.Name(), cmd.CommandPath())
	}
	return nil
}

// eachDevice does something with each device that the arguments name; all arguments are read before the first device is touched.
func eachDevice(args []string, do func(h sysfs.Host, before sysfs.Device) error) error {
	var all []sysfs.Address
	for _, arg := range args {
		a, err := sysfs.ParseAddress(arg)
		if err != nil {
			return usageError("%v", err)
		}
		all = append(all, a)
	}
	var h sysfs.Host
	for _, a := range all {
		before, err := h.Device(a)
		if err == nil {
			err = do(h, before)
		}
		if err != nil {
			return &exitError{statusFailed, err.Error()}
		}
	}
	return nil
}
