package builtins

import (
	"context"
	"sync"

	"sst/builtins/jsii"
)

// pool keeps one CDK process booted. The CDK keeps some memory of each synth for ever, so a worn process is replaced: its
// successor boots and is warmed in the background, and takes over when it is as fast. take, rest and close are called by one
// goroutine at a time.
type pool struct {
	ctx     context.Context
	cancel  context.CancelFunc
	ready   chan struct{} // closed when opts or err are set and the first host boots
	opts    jsii.HostOptions
	closing sync.WaitGroup // hosts on their way out, and one that is warmed

	mu      sync.Mutex // guards what follows
	err     error
	host    *jsii.Host
	busy    bool // host has been taken
	warming bool
	spare   *jsii.Host // warm, for when host is at rest
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

// take gives the host that is to be used next, until rest.
func (p *pool) take(ctx context.Context) (*jsii.Host, error) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = p.err == nil
	return p.host, p.err
}

// rest is called after each synth. A host that nothing good is known of is replaced at once. One that is only worn goes
// on until another has done what warm does; nil is a warm that cannot be.
func (p *pool) rest(failed bool, warm func(context.Context, *jsii.Host)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	switch {
	case p.spare != nil:
		p.replace(p.spare, nil)
		p.spare = nil
	case failed || p.host.Spoiled() || p.host.Worn() && warm == nil:
		p.replace(jsii.Start(p.ctx, p.opts))
	case p.host.Worn() && !p.warming:
		next, err := jsii.Start(p.ctx, p.opts)
		if err != nil {
			return // the old one is still good
		}
		p.warming = true
		old := p.host
		p.closing.Go(func() {
			warm(p.ctx, next)
			p.succeed(old, next)
		})
	}
}

// succeed puts a warmed host in the place of the old one, now or when that one is at rest.
func (p *pool) succeed(old, next *jsii.Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warming = false
	switch {
	case p.ctx.Err() != nil || next.Spoiled() || p.host != old: // it failed meanwhile and was replaced
		p.closing.Go(func() { next.Close() })
	case p.busy:
		p.spare = next
	default:
		p.replace(next, nil)
	}
}

func (p *pool) replace(next *jsii.Host, err error) {
	old := p.host
	p.host, p.err = next, err
	p.closing.Go(func() { old.Close() })
}

// close ends all processes.
func (p *pool) close() error {
	p.cancel()
	<-p.ready
	defer p.closing.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.host == nil {
		return nil
	}
	return p.host.Close()
}
