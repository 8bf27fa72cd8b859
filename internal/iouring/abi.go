package iouring

// From linux/io_uring.h; golang.org/x/sys has the numbers of the system calls only.
const (
	registerEventFD   = 4      // IORING_REGISTER_EVENTFD
	featureSingleMmap = 1 << 0 // IORING_FEAT_SINGLE_MMAP

	offsetRings = 0          // IORING_OFF_SQ_RING
	offsetSQEs  = 0x10000000 // IORING_OFF_SQES
)

// params is struct io_uring_params: the caller's wishes go in, the rings' sizes and where they are come out.
type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     sqOffsets
	cq                                                                     cqOffsets
}

// sqOffsets is struct io_sqring_offsets, in bytes from the start of the rings' mapping.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	_                                                           uint64
}

// cqOffsets is struct io_cqring_offsets.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	_                                                           uint64
}

// sqe is struct io_uring_sqe with what a NOP needs of it: the opcode, which is its first byte, is 0 (IORING_OP_NOP), and there are no operands.
type sqe struct {
	_        [4]uint64
	userData uint64
	_        [3]uint64
}

// CQE is struct io_uring_cqe: one completion.
type CQE struct {
	UserData uint64 // of the SQE that completed
	Res      int32  // the operation's result, or -errno
	Flags    uint32
}

const (
	sqeBytes = 64
	cqeBytes = 16
)
