package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pierrec/lz4/v4"
	"golang.org/x/sys/unix"
)

// The legacy frame of LZ4 (LZ4 frame format description, "Legacy frame"): a
// magic number, then blocks that each unpack to 8 MiB, except the last, and are
// preceded by their packed size.
const (
	lz4LegacyMagic = 0x184c2102
	lz4BlockSize   = 8 << 20
	lz4BlockBound  = lz4BlockSize + lz4BlockSize/255 + 16 // of a packed block
)

var errLZ4Corrupt = errors.New("corrupt block")

// lz4Legacy unpacks legacy frames. A read that has room for a whole block gets
// it unpacked in place; guest memory does, so most of a kernel is written once.
type lz4Legacy struct {
	r       io.Reader
	scratch []byte // a mapping of its own: a packed block, then an unpacked one
	pending []byte // unpacked bytes that were not asked for yet
	err     error  // what every further read returns
}

func newLZ4Legacy(r io.Reader) (*lz4Legacy, error) {
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return nil, noEOF(err)
	}
	if binary.LittleEndian.Uint32(magic[:]) != lz4LegacyMagic {
		return nil, errors.New("not a legacy frame")
	}
	scratch, err := unix.Mmap(-1, 0, lz4BlockBound+lz4BlockSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &lz4Legacy{r: r, scratch: scratch}, nil
}

func (z *lz4Legacy) close() {
	_ = unix.Munmap(z.scratch)
	z.scratch, z.pending, z.err = nil, nil, os.ErrClosed
}

func (z *lz4Legacy) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if len(z.pending) > 0 {
			n := copy(p, z.pending)
			z.pending = z.pending[n:]
			return n, nil
		}
		if z.err != nil {
			return 0, z.err
		}
		n, err := z.block(p)
		z.err = err
		if n > 0 {
			return n, nil
		}
	}
}

// block unpacks the next block, into p when that is large enough, else into
// pending. Every call consumes input, so a stream of empty blocks ends.
func (z *lz4Legacy) block(p []byte) (int, error) {
	var word [4]byte
	if _, err := io.ReadFull(z.r, word[:]); err != nil {
		return 0, err // io.EOF between blocks is the end
	}
	size := binary.LittleEndian.Uint32(word[:])
	if size == lz4LegacyMagic { // frames may be concatenated
		return 0, nil
	}
	if size == 0 || size > lz4BlockBound {
		return 0, fmt.Errorf("%w of %d bytes", errLZ4Corrupt, size)
	}
	packed := z.scratch[:size]
	if _, err := io.ReadFull(z.r, packed); err != nil {
		return 0, noEOF(err)
	}
	direct := len(p) >= lz4BlockSize
	dst := z.scratch[lz4BlockBound:]
	if direct {
		dst = p[:lz4BlockSize]
	}
	n, err := lz4.UncompressBlock(packed, dst)
	if err != nil || n < 0 {
		return 0, errLZ4Corrupt
	}
	if direct {
		return n, nil
	}
	z.pending = dst[:n]
	return 0, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
