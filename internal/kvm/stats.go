package kvm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// Stats is a binary statistics descriptor (KVM_GET_STATS_FD): KVM's own counters of a machine or a vCPU, found by name.
// Reading takes no lock in the kernel and works while the vCPU runs; opening does not.
type Stats struct {
	fd    int
	what  string
	names []string
	at    []int64 // file offset of each statistic's first value
	buf   []byte
	base  int64 // file offset of the data block
}

// maxStats bounds what a kernel may describe: it describes about 60.
const maxStats = 4096

func openStats(fd int, what string) (*Stats, error) {
	sfd, err := ioctl.Value(fd, kvmGetStatsFd, 0)
	if err == unix.ENOTTY || err == unix.EINVAL {
		return nil, &NotSupportedError{Feature: "KVM statistics descriptor", Reason: "KVM_GET_STATS_FD needs Linux 5.14 or newer"}
	}
	if err != nil {
		return nil, fail(kvmGetStatsFd, err, "%s", what)
	}
	s := &Stats{fd: sfd, what: what}
	if err := s.describe(); err != nil {
		unix.Close(sfd)
		return nil, &Error{Op: "read KVM statistics", Thing: what, Err: err}
	}
	return s, nil
}

// describe reads the header and the descriptors: {header, id, descriptor + name each, data}.
func (s *Stats) describe() error {
	var h statsHeader
	if err := s.readStruct(0, &h); err != nil {
		return err
	}
	if h.NumDesc > maxStats || h.NameSize > 4096 {
		return fmt.Errorf("%d descriptors with names of %d bytes", h.NumDesc, h.NameSize)
	}
	s.base = int64(h.DataOffset)
	one := int64(binary.Size(statsDesc{})) + int64(h.NameSize)
	end := int64(0)
	for i := range int64(h.NumDesc) {
		var d statsDesc
		at := int64(h.DescOffset) + i*one
		if err := s.readStruct(at, &d); err != nil {
			return err
		}
		name := make([]byte, h.NameSize)
		if _, err := unix.Pread(s.fd, name, at+int64(binary.Size(d))); err != nil {
			return err
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		if d.Size != 1 {
			continue // histograms: not counters
		}
		s.names = append(s.names, string(name))
		s.at = append(s.at, int64(d.Offset))
		end = max(end, int64(d.Offset)+8)
	}
	if end > 1<<20 {
		return fmt.Errorf("data block of %d bytes", end)
	}
	s.buf = make([]byte, end)
	return nil
}

func (s *Stats) readStruct(at int64, v any) error {
	b := make([]byte, binary.Size(v))
	n, err := unix.Pread(s.fd, b, at)
	if err == nil && n < len(b) {
		err = unix.ENODATA
	}
	if err != nil {
		return err
	}
	_, err = binary.Decode(b, binary.LittleEndian, v)
	return err
}

// Read returns every counter's present value by its kernel name: "exits", "io_exits", "halt_wakeup". Histograms are left
// out. It is not for concurrent use.
func (s *Stats) Read() (map[string]uint64, error) {
	n, err := unix.Pread(s.fd, s.buf, s.base)
	if err == nil && n < len(s.buf) {
		err = unix.ENODATA
	}
	if err != nil {
		return nil, &Error{Op: "read KVM statistics", Thing: s.what, Err: err}
	}
	m := make(map[string]uint64, len(s.names))
	for i, name := range s.names {
		m[name] = binary.LittleEndian.Uint64(s.buf[s.at[i]:])
	}
	return m, nil
}

// Close releases the descriptor.
func (s *Stats) Close() error { return unix.Close(s.fd) }
