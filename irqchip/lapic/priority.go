package lapic

// isrv is the vector of the highest priority that is in service; 0 if none is.
func (a *APIC) isrv() uint8 { return a.isr.highest() }

// ppr is the priority that an interrupt has to exceed (SDM section 11.8.3.1): the class of TPR or of what is in service, whichever is higher.
// Where the two are equal, the manual leaves the sub-class to the model; here it is TPR's.
func (a *APIC) ppr() uint8 {
	if isrv := a.isrv(); isrv>>4 > a.tpr>>4 {
		return isrv &^ 0xf
	}
	return a.tpr
}

// apr is the arbitration priority of the P6 family, which AMD's processors still show (APM volume 2, section 16.6).
func (a *APIC) apr() uint8 {
	tpr, isrv, irrv := a.tpr>>4, a.isrv()>>4, a.irr.highest()>>4
	if tpr >= irrv && tpr > isrv {
		return a.tpr
	}
	return max(tpr&isrv, irrv) << 4
}

// Pending is the vector that is to be injected next: the highest in IRR, if its class is above PPR's.
func (a *APIC) Pending() (vector int, ok bool) {
	v := a.irr.highest()
	if v>>4 <= a.ppr()>>4 || a.waiting || a.base&baseEN == 0 {
		return 0, false
	}
	return int(v), true
}

// Accept is the processor's interrupt acknowledge: it moves the vector of Pending from IRR to ISR and returns it for injection. If there is
// none any more, because TPR was raised in the meantime, it returns the spurious vector of SVR, which is not in service and gets no EOI
// (section 11.9), and false.
func (a *APIC) Accept() (vector uint8, real bool) {
	p, ok := a.Pending()
	if !ok {
		a.count.spurious.Add(1)
		return uint8(a.svr & svrVector), false
	}
	v := uint8(p)
	a.irr.clear(v)
	a.isr.set(v)
	a.count.delivered[v].Add(1)
	return v, true
}

// CR8 is the task priority class as the processor's register of that name has it (section 11.8.6).
func (a *APIC) CR8() uint8 { return a.tpr >> 4 }

// SetCR8 is a write to CR8, of which only bits 3:0 are not reserved. It clears TPR's sub-class.
func (a *APIC) SetCR8(v uint8) { a.tpr = v << 4 }
