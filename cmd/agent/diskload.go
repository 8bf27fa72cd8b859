package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

const (
	diskBlock   = 64 << 10 // bytes of one transfer, a multiple of every sector's size
	maxDiskMiB  = 1 << 20
	diskPatient = 10 * time.Second // for the driver to find its disk
)

// parseDisk reads /dev/NAME,MIB.
func parseDisk(value string) (workload, error) {
	path, text, _ := strings.Cut(value, ",")
	mib, err := strconv.Atoi(text)
	if err != nil || mib < 1 || mib > maxDiskMiB || !strings.HasPrefix(path, "/dev/") {
		return workload{}, fmt.Errorf("not /dev/NAME,MIB")
	}
	return workload{func(result *guestreport.WorkloadResult) error {
		d, err := disk(path, int64(mib)<<20)
		result.Disk = d
		if err == nil {
			_, err = fmt.Printf("disk: %s: %d bytes written and read back, sha256 %s\n", d.Path, d.Bytes, d.SHA256)
		}
		return err
	}}, nil
}

// disk overwrites the beginning of a disk with what no disk held before, past the page cache, and reads it back.
func disk(path string, size int64) (*guestreport.DiskResult, error) {
	f, err := openDisk(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// O_DIRECT wants a buffer at a page.
	buffer, err := unix.Mmap(-1, 0, diskBlock, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("a buffer: %w", err)
	}
	defer unix.Munmap(buffer)
	var seed [32]byte
	copy(seed[:], strconv.FormatInt(time.Now().UnixNano(), 10))
	pattern, wrote, read := rand.NewChaCha8(seed), sha256.New(), sha256.New()
	for at := int64(0); at < size; at += diskBlock {
		_, _ = pattern.Read(buffer) // never fails (math/rand/v2)
		wrote.Write(buffer)
		if _, err := f.WriteAt(buffer, at); err != nil {
			return nil, fmt.Errorf("write: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("flush: %w", err)
	}
	for at := int64(0); at < size; at += diskBlock {
		clear(buffer)
		if _, err := io.ReadFull(io.NewSectionReader(f, at, diskBlock), buffer); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		read.Write(buffer)
	}
	d := &guestreport.DiskResult{Path: path, Bytes: size, SHA256: fmt.Sprintf("%x", read.Sum(nil))}
	if want := fmt.Sprintf("%x", wrote.Sum(nil)); want != d.SHA256 {
		return d, fmt.Errorf("%s: read back with SHA-256 %s, written with %s", path, d.SHA256, want)
	}
	return d, nil
}

// openDisk waits for a disk that its driver may still be looking at.
func openDisk(path string) (*os.File, error) {
	for deadline := time.Now().Add(diskPatient); ; time.Sleep(20 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
		if err == nil || !os.IsNotExist(err) || time.Now().After(deadline) {
			return f, err
		}
	}
}
