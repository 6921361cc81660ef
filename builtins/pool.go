package builtins

import (
	"context"

	"sst/builtins/jsii"
)

// pool keeps one CDK process booted, and one more from the moment that the first is worn: the CDK keeps some memory of
// each synth for ever. Its methods are called by one goroutine at a time.
type pool struct {
	ctx    context.Context
	cancel context.CancelFunc
	ready  chan struct{} // closed when opts or err are set and the first host boots
	opts   jsii.HostOptions
	err    error
	host   *jsii.Host
	spare  *jsii.Host
}

// open finds Node and the CDK and boots the first host, all in the background.
func (p *pool) open(o Options) {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ready = make(chan struct{})
	go func() {
		defer close(p.ready)
		if p.opts.Node, p.err = o.Node(); p.err != nil {
			return
		}
		if p.opts.Dir, p.err = o.CDKDir(p.ctx); p.err != nil {
			return
		}
		p.host, p.err = jsii.Start(p.ctx, p.opts)
	}()
}

// take gives the host that is to be used next.
func (p *pool) take(ctx context.Context) (*jsii.Host, error) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if p.host == nil && p.err == nil {
		p.host, p.err = jsii.Start(p.ctx, p.opts)
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.host, nil
}

// rest is called after each synth. A host that failed is not used again; a worn one makes room for a spare that booted
// during the synth before.
func (p *pool) rest(failed bool) {
	switch {
	case failed:
		p.host.Close()
		p.host, p.err = jsii.Start(p.ctx, p.opts)
	case p.host.Worn() && p.spare == nil:
		p.spare, _ = jsii.Start(p.ctx, p.opts)
	case p.host.Worn():
		p.host.Close()
		p.host, p.spare = p.spare, nil
	}
}

func (p *pool) close() error {
	p.cancel()
	<-p.ready
	var err error
	for _, host := range []*jsii.Host{p.host, p.spare} {
		if host != nil {
			if e := host.Close(); err == nil {
				err = e
			}
		}
	}
	p.host, p.spare = nil, nil
	return err
}
