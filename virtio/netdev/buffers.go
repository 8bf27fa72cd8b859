package netdev

import (
	"encoding/binary"
	"errors"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

var (
	errReceiveShort    = errors.New("a receive buffer is shorter than the virtio header")
	errReceiveReadable = errors.New("a receive buffer has a device-readable part")
)

const (
	// maxHeld bounds the chains that a receiver takes for one frame.
	maxHeld = 256
	// maxSegments bounds the list that a backend gets: as many as readv(2) takes, less the one that a split header adds.
	maxSegments = 1023
	// hashLen is what struct virtio_net_hdr has behind num_buffers with VIRTIO_NET_F_HASH_REPORT: le32 hash_value, le16
	// hash_report, le16 padding.
	hashLen = 8
)

// buffers are the chains that a receiver has taken and not yet given back, oldest first, and their segments as one list.
type buffers struct {
	queue  *virtio.Queue
	header int  // length of the virtio header: 12, or 20 with a hash
	merge  bool // VIRTIO_NET_F_MRG_RXBUF: a frame may take several chains

	held  []*virtio.Chain // a ring
	first int
	count int
	spare []*virtio.Chain

	list  [][]byte // the held chains' segments are list[from:]; there is always a free place before
	from  int
	bytes int
	whole []byte   // list[from] as it was before view split it
	split [][]byte // the view for headers in several segments
}

func newBuffers(q *virtio.Queue, merge bool, header int) *buffers {
	n := 1
	if merge {
		n = min(maxHeld, q.Size())
	}
	return &buffers{
		queue: q, header: header, merge: merge, held: make([]*virtio.Chain, n),
		list: make([][]byte, 1, 2*(maxSegments+q.Size())), from: 1, split: make([][]byte, 0, maxSegments+2),
	}
}

// full says that more chains cannot be had: there is no place for them, or the driver has none left to give.
func (b *buffers) full() bool {
	return b.count == len(b.held) || b.count == b.queue.Size() || len(b.list)-b.from >= maxSegments
}

// fill takes chains until there are need bytes, and says whether there are. It takes what is there in any case, at least one chain.
func (b *buffers) fill(need int) (bool, error) {
	for b.bytes < need && !b.full() {
		if len(b.spare) == 0 {
			b.spare = append(b.spare, b.queue.NewChain())
		}
		c := b.spare[len(b.spare)-1]
		ok, err := b.queue.Pop(c)
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
		if c.ReadableLen() > 0 {
			b.queue.Fail(errReceiveReadable)
			return false, errReceiveReadable
		}
		if c.WritableLen() < uint64(b.header) {
			b.queue.Fail(errReceiveShort)
			return false, errReceiveShort
		}
		b.spare = b.spare[:len(b.spare)-1]
		b.add(c)
	}
	return b.bytes >= need, nil
}

func (b *buffers) add(c *virtio.Chain) {
	b.held[(b.first+b.count)%len(b.held)] = c
	b.count++
	segments := c.Writable()
	if len(b.list)+len(segments) > cap(b.list) {
		n := copy(b.list[1:], b.list[b.from:])
		b.list, b.from = b.list[:1+n], 1
	}
	b.list = append(b.list, segments...)
	b.bytes += int(c.WritableLen())
}

// segments is the list that a frame with its whole header is stored in.
func (b *buffers) segments() [][]byte { return b.list[b.from:min(len(b.list), b.from+maxSegments)] }

// view is segments for a backend, which knows nothing of the hash behind the header; unview must follow.
func (b *buffers) view() [][]byte {
	s := b.segments()
	if b.header == backend.HeaderLen {
		return s
	}
	if first := s[0]; len(first) > b.header {
		b.whole = first
		b.list[b.from-1] = first[:backend.HeaderLen]
		b.list[b.from] = first[b.header:]
		return b.list[b.from-1 : b.from+len(s)]
	}
	b.split = withoutHash(b.split, s)
	return b.split
}

func (b *buffers) unview() {
	if b.whole != nil {
		b.list[b.from], b.whole = b.whole, nil
	}
}

// withoutHash is the list without the bytes of the hash behind the header.
func withoutHash(out, list [][]byte) [][]byte {
	out = out[:0]
	at := 0
	for _, s := range list {
		start, end := at, at+len(s)
		at = end
		if start < backend.HeaderLen {
			out = append(out, s[:min(len(s), backend.HeaderLen-start)])
		}
		if skip := backend.HeaderLen + hashLen; end > skip {
			out = append(out, s[max(0, skip-start):])
		}
	}
	return out
}

// use gives back the chains that a frame of n bytes takes, its whole header included, with the header's num_buffers.
func (b *buffers) use(n int) {
	if first := b.held[b.first]; uint64(n) > first.WritableLen() {
		b.storeCount(n)
	}
	for n > 0 {
		c := b.held[b.first]
		written := min(n, int(c.WritableLen()))
		n -= written
		b.bytes -= int(c.WritableLen())
		b.from += len(c.Writable())
		b.queue.Push(c, uint32(written))
		b.spare = append(b.spare, c)
		b.first = (b.first + 1) % len(b.held)
		b.count--
	}
}

// storeCount stores num_buffers, which a backend has left at 1.
func (b *buffers) storeCount(n int) {
	chains := 0
	for i := b.first; n > 0; i = (i + 1) % len(b.held) {
		n -= int(b.held[i].WritableLen())
		chains++
	}
	var v [2]byte
	binary.LittleEndian.PutUint16(v[:], uint16(chains))
	backend.Scatter(b.segments(), numBuffersAt, v[:])
}

// numBuffersAt is where the header has num_buffers.
const numBuffersAt = 10
