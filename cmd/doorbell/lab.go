package main

import (
	"strings"

	"doorbell/images"
	"doorbell/internal/lab"

	"github.com/spf13/cobra"
)

// What QEMU's q35 takes and Debian's kernel needs.
const (
	maxLabCPUs   = 255
	minLabMemory = 512 << 20
	maxLabMemory = 1 << 40
)

// What Bochs takes: two processors have been tried, each slows the others down, and more memory is not below the PCI hole.
const (
	maxBochsCPUs   = 2
	bochsMemory    = "2G"
	maxBochsMemory = 2 << 30
)

func labCommand() *cobra.Command {
	var host, memory string
	var carry, files, kernels, devices []string
	var cpus, retries int
	var guest, verbose bool
	cmd := &cobra.Command{
		Use:   "lab [flags] -- COMMAND [ARG ...]",
		Short: "Run a command on an emulated host that has KVM hardware",
		Long: `lab starts an emulated host, AMD's with SVM (QEMU without acceleration) or, with --host bochs, Intel's with VMX and posted
interrupts (Bochs, much slower), runs COMMAND in it, and ends with COMMAND's exit status.
Standard input, output and error pass through, and files that the command writes where its arguments point come back. Files
that its arguments name travel along; a program of this machine brings its libraries; the name doorbell means this binary.`,
		Example: `  doorbell lab -- doorbell probe
  doorbell lab -- doorbell boot -c 2 --report json=r.json
  doorbell lab --device virtio-net -- doorbell boot --net none --device vfio=auto
  doorbell lab --host bochs -- doorbell measure posted
  go test -exec 'doorbell lab --' ./vmm      run a package's tests where KVM works`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("lab: no command: doorbell lab -- COMMAND [ARG ...]")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if host != hostTCG && host != hostBochs {
				return usageError("lab --host %q: there are tcg and bochs", host)
			}
			if host == hostBochs {
				if len(devices) > 0 {
					return usageError("lab --host bochs --device %s: Bochs has no IOMMU and no devices to pass through", devices[0])
				}
				if cpus > maxBochsCPUs {
					return usageError("lab --host bochs -c %d: it has 1 to %d processors", cpus, maxBochsCPUs)
				}
				if !cmd.Flags().Changed("memory") {
					memory = bochsMemory
				}
				if size, err := parseSize(memory); err == nil && size > maxBochsMemory {
					return usageError("lab --host bochs -m %s: it has at most %s of memory", memory, bochsMemory)
				}
			}
			r := labRequest{bochs: host == hostBochs, command: args, binaries: carry, guest: guest, verbose: verbose, cpus: cpus, retries: retries}
			if cpus < 1 || cpus > maxLabCPUs {
				return usageError("lab -c %d: an emulated host has 1 to %d processors", cpus, maxLabCPUs)
			}
			size, err := parseSize(memory)
			if err != nil {
				return usageError("lab -m %s: %v", memory, err)
			}
			if size < minLabMemory || size > maxLabMemory {
				return usageError("lab -m %s: an emulated host has 512M to 1T of memory", memory)
			}
			r.memory = int64(size)
			for _, k := range kernels {
				release, ok, err := images.ParseRelease(k)
				if err != nil || !ok {
					return usageError("lab --kernel %q: write debian:SUITE, as in debian:trixie, debian:rt or debian:irqprobe", k)
				}
				r.releases = append(r.releases, release)
			}
			for _, d := range devices {
				device, err := lab.ParseDevice(d)
				if err != nil {
					return usageError("lab --device %s: %v", d, err)
				}
				r.devices = append(r.devices, device)
			}
			for _, f := range files {
				from, to, ok := strings.Cut(f, ":")
				if !ok || from == "" || !strings.HasPrefix(to, "/") {
					return usageError("lab --file %q: write HOSTPATH:/LABPATH", f)
				}
				r.files = append(r.files, lab.File{Host: from, Guest: to})
			}
			return inLab(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&host, "host", hostTCG, "the emulated host: tcg (AMD, by QEMU), bochs (Intel with posted interrupts, slow; about 135 MB of downloads, once)")
	f.StringVarP(&memory, "memory", "m", "3G", "the host's memory")
	f.IntVarP(&cpus, "cpus", "c", 2, "the host's processors")
	f.StringArrayVar(&carry, "carry", nil, "a program to carry along, with its libraries")
	f.StringArrayVar(&files, "file", nil, "a file to carry along, as HOSTPATH:/LABPATH")
	f.StringArrayVar(&devices, "device", nil, "a PCI device, bound to vfio-pci behind an IOMMU: "+strings.Join(lab.DeviceModels(), ", ")+"\nwith ,intremap=off for an IOMMU without interrupt remapping")
	f.BoolVar(&guest, "guest", true, "carry the default guest along")
	f.StringArrayVar(&kernels, "kernel", nil, "carry the guest of another release along, as debian:SUITE, for boot -k debian:SUITE")
	f.IntVar(&retries, "retry", 0, "how often to run COMMAND again after the emulated host died under it")
	f.BoolVarP(&verbose, "verbose", "v", false, "show the host's console")
	return cmd
}
