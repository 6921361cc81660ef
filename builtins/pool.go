package builtins

import (
	"context"
	"sync"

	"sst/builtins/jsii"
)

// pool keeps one CDK process booted. The CDK keeps some memory of each synth for ever, so a worn process is replaced at the
// end of a synth: the new one boots before it is needed. The methods are called by one goroutine at a time.
type pool struct {
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{} // closed when opts or err are set and the first host boots
	opts    jsii.HostOptions
	err     error
	host    *jsii.Host
	closing sync.WaitGroup // hosts on their way out
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
	return p.host, p.err
}

// rest is called after each synth. A host that is worn, or of which nothing good is known, is replaced.
func (p *pool) rest(failed bool) {
	if !failed && !p.host.Worn() {
		return
	}
	old := p.host
	p.host, p.err = jsii.Start(p.ctx, p.opts)
	p.closing.Go(func() { old.Close() })
}

// close ends all processes.
func (p *pool) close() error {
	p.cancel()
	<-p.ready
	defer p.closing.Wait()
	if p.host == nil {
		return nil
	}
	return p.host.Close()
}
