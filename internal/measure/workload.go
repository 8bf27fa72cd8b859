package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"doorbell/internal/guestreport"
	"doorbell/vmm"
)

// workloadRun is what a guest's workload gave, which its command line names.
type workloadRun struct {
	exits   []uint64 // of each vCPU between the workload's start and its end
	counted guestreport.Snapshot
	ns      float64 // by the guest's clock
}

// runWorkload runs a guest until it has done its workload. *res is the guest's result, if there was a guest.
func runWorkload(ctx context.Context, cfg vmm.Config, res **vmm.Result) (*workloadRun, error) {
	r, err := runLoaded(ctx, cfg, nil)
	if r != nil {
		*res = r
	}
	if err != nil {
		return nil, err
	}
	exits, err := workloadExits(&r.Account)
	switch {
	case err != nil:
		return nil, err
	case r.Agent == nil:
		return nil, fmt.Errorf("the guest has not reported: %s", r.AgentMissing)
	case r.Agent.Workload.Error != "":
		return nil, fmt.Errorf("the guest's workload: %s", r.Agent.Workload.Error)
	case r.Agent.Workload.ExitStatus != 0:
		return nil, fmt.Errorf("the guest's workload ended with status %d", r.Agent.Workload.ExitStatus)
	}
	return &workloadRun{exits, r.Agent.Delta(), float64(r.Agent.Workload.DurationNs)}, nil
}

// workloadExits are the exits of each vCPU between the workload's start and its end.
func workloadExits(a *vmm.Account) ([]uint64, error) {
	at := func(name string) []uint64 {
		i := slices.IndexFunc(a.Phases, func(p vmm.Phase) bool { return p.Name == name })
		if i < 0 {
			return nil
		}
		return a.Phases[i].Exits
	}
	start, end := at("guest: workload-start"), at("guest: workload-end")
	if start == nil || len(start) != len(end) {
		return nil, errors.New("the exits of the workload alone are not known")
	}
	exits := make([]uint64, len(end))
	for i := range end {
		exits[i] = end[i] - start[i]
	}
	return exits, nil
}
