// Package guest is the guest's half of the traffic protocol: it connects to a controller and does what that asks for.
//
// Data flows are blocking sockets, each with a goroutine of its own, which may be tied to a CPU: the network poller would have
// another thread, on another CPU, hear of every packet first.
package guest
