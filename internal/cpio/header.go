package cpio

import "fmt"

// File types of the mode field, as in stat(2).
const (
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeSymlink = 0o120000
)

const (
	magic   = "070701"
	trailer = "TRAILER!!!"
	// blockSize is what a whole archive is padded to, as cpio(1) does.
	blockSize = 512
	// maxName is PATH_MAX: the kernel skips entries with longer names, and
	// symbolic links with longer targets, without a word.
	maxName = 4096
	// maxFile is the largest size that the eight hex digits can say.
	maxFile = 1<<32 - 1
)

// header is one entry's fixed part; user, group and mtime are always 0.
type header struct {
	ino          uint32
	mode         uint32
	links        uint32
	size         uint32
	major, minor uint32 // of the device that the entry stands for
}

// append adds the header of an entry called name, the name and the padding
// that aligns what follows to four bytes.
func (h header) append(b []byte, name string) []byte {
	const none = 0
	start := len(b)
	b = append(b, magic...)
	for _, field := range [...]uint32{
		h.ino, h.mode, none, none, h.links, none, h.size,
		none, none, h.major, h.minor, uint32(len(name) + 1), none,
	} {
		b = fmt.Appendf(b, "%08X", field)
	}
	b = append(b, name...)
	b = append(b, 0)
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
