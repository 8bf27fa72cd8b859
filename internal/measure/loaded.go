package measure

import (
	"context"
	"errors"
	"fmt"

	"doorbell/vmm"
)

// runLoaded runs a guest under a load from this process, nil for none. res is nil if there was no guest; an error beside a result is the load's, or
// says that the guest did not power off.
func runLoaded(ctx context.Context, cfg vmm.Config, load func(context.Context) error) (res *vmm.Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m, err := vmm.New(cfg)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	failed := make(chan error, 1)
	if load == nil {
		failed <- nil
	} else {
		go func() {
			err := load(ctx)
			if err != nil {
				cancel(fmt.Errorf("a load that failed: %w", err))
			}
			failed <- err
		}()
	}
	if res, err = m.Run(ctx); err != nil {
		return nil, err
	}
	cancel(errors.New("the guest has ended"))
	if err := <-failed; err != nil {
		return res, fmt.Errorf("the load: %w", err)
	}
	if res.End != vmm.PoweredOff {
		return res, fmt.Errorf("the guest ended: %s", res.Reason)
	}
	return res, nil
}
