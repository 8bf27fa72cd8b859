package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// codec is a form in which the kernel's build packs vmlinux
// (scripts/Makefile.lib, CONFIG_KERNEL_*).
type codec int

const (
	codecNone codec = iota
	codecELF        // not packed at all
	codecGzip
	codecXz
	codecZstd
	codecLZ4
	codecBzip2
	codecLzma
	codecLzo
	codecLZ4Frame // what lz4(1) writes by default; no kernel uses it
)

var codecs = []struct {
	codec codec
	name  string
	magic string
}{
	codecNone:     {codecNone, "unknown", ""},
	codecELF:      {codecELF, "ELF", "\x7fELF"},
	codecGzip:     {codecGzip, "gzip", "\x1f\x8b"},
	codecXz:       {codecXz, "xz", "\xfd7zXZ\x00"},
	codecZstd:     {codecZstd, "zstd", "\x28\xb5\x2f\xfd"},
	codecLZ4:      {codecLZ4, "lz4", "\x02\x21\x4c\x18"},
	codecBzip2:    {codecBzip2, "bzip2", "BZh"},
	codecLzma:     {codecLzma, "lzma", "\x5d\x00\x00"},
	codecLzo:      {codecLzo, "lzo", "\x89LZO"},
	codecLZ4Frame: {codecLZ4Frame, "lz4 frame", "\x04\x22\x4d\x18"},
}

func (c codec) String() string { return codecs[c].name }

// wrap says in which stream an error occurred; some decoders do so themselves.
func (c codec) wrap(err error) error {
	if strings.HasPrefix(err.Error(), c.String()+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", c, err)
}

// supported tells whether decoder can unpack c.
func (c codec) supported() bool { return c >= codecGzip && c <= codecLZ4 }

// detect recognises the codec by its magic number.
func detect(head []byte) codec {
	for _, c := range codecs[codecELF:] {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return c.codec
		}
	}
	return codecNone
}

var errNotELF = errors.New("not an ELF file")

// Upper bounds of what a stream may make its decoder allocate. The kernel's
// build uses dictionaries of 32 MiB with xz and windows of up to 128 MiB with
// zstd; an allocation only becomes resident as far as the stream fills it.
const (
	maxXzDict     = 64 << 20
	maxZstdWindow = 128 << 20
)

// decoder is a running decompressor.
type decoder struct {
	io.Reader
	close  func()
	onHeap bool // its working memory is large and left to the collector
}

// decoder starts unpacking one stream; what follows it is not looked at.
func (c codec) decoder(r io.Reader) (decoder, error) {
	nop := func() {}
	switch c {
	case codecGzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			return decoder{}, err
		}
		z.Multistream(false)
		return decoder{z, nop, false}, nil
	case codecXz:
		// Of the Go implementations this one undoes the x86 branch filter,
		// which the kernel's build applies.
		z, err := xz.NewReader(bufio.NewReaderSize(r, 64<<10), maxXzDict)
		if err != nil {
			return decoder{}, err
		}
		z.Multistream(false)
		return decoder{z, nop, true}, nil
	case codecZstd:
		z, err := zstd.NewReader(bufio.NewReaderSize(r, 64<<10), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return decoder{}, err
		}
		return decoder{z, z.Close, true}, nil
	case codecLZ4:
		z, err := newLZ4Legacy(r)
		if err != nil {
			return decoder{}, err
		}
		return decoder{z, z.close, false}, nil
	}
	return decoder{}, errors.New("not supported")
}
