// Package l1 is the guest half of the lab: the first process of the emulated
// host. It sets the machine up, runs the one command that it is sent, brings
// its output, exit status and written files to the caller, and powers off.
//
// It assumes nothing of the machine but a Linux with virtio_console and the
// folder Folder in its initramfs.
package l1
