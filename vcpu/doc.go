// Package vcpu is one virtual processor: a locked thread that creates it, runs it, hands its exits to a Bus, and can be
// kicked out of the guest.
//
// The loop takes no lock, allocates nothing and uses no channel: KVM_RUN returns, the exit is counted in the ledger, the Bus
// answers on a slice of the shared page, and the guest goes on. What answers an exit is not known here.
package vcpu
